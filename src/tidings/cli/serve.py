"""`tidings serve`, `gateway` and `worker`: a process in its role, until it is told to stop."""

import asyncio
import fcntl
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import uvicorn
import uvloop
from starlette.types import ASGIApp

from tidings.app import App, build
from tidings.cli import logs
from tidings.cli.plugins import plugins
from tidings.cli.refusals import refusals_in_a_line
from tidings.domain.errors import Conflict, Unavailable
from tidings.gateway.wire import BoundedHttp, BoundedWebSocket
from tidings.protocol.frames import FRAME_BYTES_MAX
from tidings.settings import ALL, Settings, load, unknown
from tidings.storage.marks import make_folder

_log = logging.getLogger(__name__)

ADDRESS_FILE = "server.url"
LOCK_FILE = "server.lock"
STOP_SECONDS = 10
BACKLOG = 2048


def serve(prepare: Callable[[App], None]) -> None:
    """Serve with settings from the environment: a program's own server.

    `prepare` registers agents and tools before the server begins.
    """
    with refusals_in_a_line():
        serve_until_stopped(load({}), prepare)


def serve_until_stopped(
    settings: Settings, prepare: Callable[[App], None] = lambda _: None
) -> None:
    """Serve; print one line when ready; return after SIGTERM or SIGINT.

    `prepare` may register agents and tools before the server begins.

    Raises:
        Conflict: `data_dir_in_use`: another server works on this data directory.
        Unavailable: `address_in_use`, or the store cannot be opened.
    """
    logs.configure(settings.log_level)
    for sentence in unknown():
        _log.warning(sentence)
    make_folder(settings.data_dir, 0o700)
    with (
        only_server(settings.data_dir) if settings.alone else nullcontext(),
        _listening(settings) as listening,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_serve(settings, listening, prepare))


def read_address(data_dir: Path) -> str:
    """Return where the server of this data directory listens.

    Raises:
        Unavailable: `server_unreachable`: none is running.
    """
    try:
        return (data_dir / ADDRESS_FILE).read_text().strip()
    except FileNotFoundError:
        raise Unavailable(
            "server_unreachable", "No server is running here; start one with `tidings serve`."
        ) from None


async def _serve(
    settings: Settings, listening: socket.socket, prepare: Callable[[App], None]
) -> None:
    app = build(settings)
    for register in (*plugins(settings.plugin_list), prepare):
        register(app)
    try:
        await app.begin()
        async with app.running():
            await HttpServer(app, settings, listening).serve(sockets=[listening])
    finally:
        await app.close()


def configured(http: ASGIApp, frame_bytes: int = FRAME_BYTES_MAX) -> uvicorn.Config:
    """Return how HTTP and sockets are spoken; `frame_bytes` is the longest message taken."""
    return uvicorn.Config(
        http,
        http=BoundedHttp,
        ws=BoundedWebSocket,
        ws_max_size=frame_bytes,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


class HttpServer(uvicorn.Server):
    """Uvicorn, which says when it is ready and lets clients go before it stops."""

    def __init__(self, app: App, settings: Settings, listening: socket.socket) -> None:
        super().__init__(configured(app.http))
        self._app = app
        self._address_file = settings.data_dir / ADDRESS_FILE if settings.role == ALL else None
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self._url = f"http://{shown}:{port}"

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM or SIGINT; being told to stop is no failure."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._address_file is not None:
            self._address_file.write_text(self._url + "\n")
        print(f"ready {self._url}", flush=True)  # noqa: T201 - the one line that is promised

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._address_file is not None:
            self._address_file.unlink(missing_ok=True)
        self._app.readiness.drain()
        await self._app.presence.drain()
        await super().shutdown(sockets)


@contextmanager
def only_server(data_dir: Path) -> Iterator[None]:
    """Hold the data directory: its runs may be taken over because nobody else works on them."""
    with (data_dir / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(
                "data_dir_in_use", f"Another server works on {data_dir}; stop it first."
            ) from None
        yield


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((settings.host, settings.port))
        except OSError as error:
            raise Unavailable(
                "address_in_use",
                f"Cannot listen on {settings.host}:{settings.port}: {error.strerror or error}."
                " Choose another with --host and --port.",
            ) from error
        listening.listen(BACKLOG)
        yield listening
