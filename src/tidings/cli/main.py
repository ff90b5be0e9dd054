"""The commands of `tidings`: each builds the application, or calls a server that runs."""

import asyncio
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from tidings.app import App, migrate, new_ids
from tidings.cli import demo as demonstration
from tidings.cli import doctor as examination
from tidings.cli import logs
from tidings.cli.agents import show_agents
from tidings.cli.ask import EXIT_CANCELLED, Inquiry, Server, ask, exit_code
from tidings.cli.backups import backed_up, restored
from tidings.cli.health import show_health
from tidings.cli.history import show_levels, show_usage
from tidings.cli.moves import moved
from tidings.cli.opening import DEFAULTS, DataDir, settings_of, with_app
from tidings.cli.refusals import EXIT_FAILED, refusals_in_a_line
from tidings.cli.replay import factor_of, play
from tidings.cli.serve import read_address, serve_until_stopped
from tidings.cli.show import Show
from tidings.cli.tools import tool_lines
from tidings.cli.users import Name, nobody_in, users
from tidings.domain.errors import InvalidInput, NotFound
from tidings.domain.events import Event
from tidings.history.service import DAYS_MAX
from tidings.protocol.client import Apply
from tidings.settings import GATEWAY, WORKER, Settings, load

cli = typer.Typer(add_completion=False, no_args_is_help=True, invoke_without_command=True)
cli.add_typer(users, name="user")

Host = Annotated[str | None, typer.Option(help=f"The address to listen on; {DEFAULTS.host}.")]
Port = Annotated[int | None, typer.Option(help=f"The port; {DEFAULTS.port}; 0 takes a free one.")]
At = Annotated[str | None, typer.Option(help="The server's address; else the data dir says it.")]
Days = Annotated[int, typer.Option(min=1, max=DAYS_MAX, help="How many days, with today.")]


@cli.callback()
def of_all(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version, and nothing else.")
    ] = False,
) -> None:
    """A self-hosted agent server."""
    if version:
        typer.echo(version_of("tidings"))
        raise typer.Exit


def main() -> None:
    """Run the command line; a refusal is one line and exit status 1."""
    logs.hush()
    with refusals_in_a_line():
        try:
            cli()
        except KeyboardInterrupt:
            raise SystemExit(EXIT_CANCELLED) from None
        finally:
            # The interpreter takes its time to go: Ctrl-C then must not take the exit status away.
            signal.signal(signal.SIGINT, signal.SIG_IGN)


@cli.command()
def serve(
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Serve until stopped; prints `ready http://...` when it does."""
    serve_until_stopped(load({"data_dir": data_dir, "host": host, "port": port}))


@cli.command()
def gateway(
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Serve clients and work on no runs: one of several, on TIDINGS_DATABASE_URL."""
    chosen = {"data_dir": data_dir, "host": host, "port": port, "role": GATEWAY}
    serve_until_stopped(load(chosen))


@cli.command()
def worker(
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Work on runs; nothing but its health is served. One of several, on TIDINGS_DATABASE_URL."""
    chosen = {"data_dir": data_dir, "host": host, "port": port, "role": WORKER}
    serve_until_stopped(load(chosen))


@cli.command()
def token(name: Name, data_dir: DataDir = None) -> None:
    """Print an access token of a user, and nothing else."""
    typer.echo(with_app(settings_of(data_dir), lambda app: app.identity.issue_token(name)))


@cli.command("ask")
def ask_(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    file: Annotated[list[Path] | None, typer.Option(help="A usage log; may be repeated.")] = None,
    thread: Annotated[str | None, typer.Option(help="Go on in this conversation.")] = None,
    agent: Annotated[str | None, typer.Option(help="Ask this one of `tidings agents`.")] = None,
    server: At = None,
    user: Annotated[str | None, typer.Option(help="Ask as this user of the data dir.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Events as JSON lines.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Ask, and watch the run; exits 0 completed, 3 degraded, 1 failed, 130 cancelled.

    Signs in by TIDINGS_TOKEN, or as the user of the data directory.
    """
    for path in file or ():
        if not path.is_file():
            raise InvalidInput("no_such_file", f"There is no file {path}.")
    target = _as_user(server, user, data_dir)
    asked = Inquiry(question, tuple(file or ()), thread_id=thread, agent=agent)
    show = _as_json if as_json else _as_text()
    read = input if sys.stdin.isatty() and not as_json else None
    terminal = asyncio.run(ask(target, asked, new_ids(), show, read))
    raise SystemExit(exit_code(terminal))


@cli.command()
def agents(
    server: At = None,
    user: Annotated[str | None, typer.Option(help="Look as this user of the data dir.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Show the agents of the running server, to name to `ask --agent`.

    Signs in by TIDINGS_TOKEN, or as the user of the data directory.
    """
    asyncio.run(show_agents(_as_user(server, user, data_dir), Console()))


@cli.command()
def health(
    server: At = None,
    user: Annotated[str | None, typer.Option(help="Look as this administrator.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Say how the running server is; exits 0 well, 3 degraded, 1 down or not reached.

    Signs in by TIDINGS_TOKEN, or as an administrator of the data directory.
    """
    settings = settings_of(data_dir)
    access = settings.token or with_app(settings, lambda app: _admin_token(app, user))
    target = Server(server or read_address(settings.data_dir), access)
    raise SystemExit(asyncio.run(show_health(target, Console())))


@cli.command()
def tools(
    accept: Annotated[
        str | None, typer.Option(help="Accept the tools of this server as they are now.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Show the tool servers, their tools, and what has changed since it was accepted."""
    lines, good = with_app(settings_of(data_dir), lambda app: tool_lines(app.tool_servers, accept))
    typer.echo("\n".join(lines))
    raise SystemExit(0 if good else EXIT_FAILED)


@cli.command()
def replay(
    what: Annotated[str, typer.Argument(help="A run's or a thread's id.")],
    pace: Annotated[
        str, typer.Option(help="`original`, `fast`, or how many times faster.")
    ] = "fast",
    show: Annotated[bool, typer.Option(help="As people see it, instead of JSON lines.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Tell again what a run or a thread has told, at the pace it had or another."""
    factor = factor_of(pace)
    frames = with_app(settings_of(data_dir), lambda app: app.stored_events(what))
    if not frames:
        raise NotFound("There is no run and no thread of this id.")
    asyncio.run(play(frames, factor, _shown() if show else _write_line))


@cli.command("accept-key")
def accept_key(data_dir: DataDir = None) -> None:
    """Have every process need the signing key that is here, from its next start on."""
    with_app(settings_of(data_dir), lambda app: app.accept_key())
    typer.echo("accepted; restart the others with this key")


@cli.command("migrate")
def migrate_(data_dir: DataDir = None) -> None:
    """Bring the database's schema up to date; TIDINGS_DATABASE_URL is its owner's."""
    count = asyncio.run(migrate(settings_of(data_dir)))
    typer.echo(f"applied {count} scripts; the schema is up to date")


@cli.command("move")
def move_(
    source: Annotated[str, typer.Option("--from", help="`sqlite:DATA_DIR` or `postgresql://...`.")],
    target: Annotated[str, typer.Option("--to", help="The same; it must be empty.")],
) -> None:
    """Carry everything from one database to another; no server may work on either."""
    typer.echo("\n".join(moved(source, target)))


@cli.command()
def usage(days: Days = 30, data_dir: DataDir = None) -> None:
    """Show what everybody's runs have taken, by day, user and model."""

    async def show(app: App) -> None:
        names = {user.user_id: user.name for user in await app.identity.list_users()}
        await show_usage(app.history, names, days, Console())

    with_app(settings_of(data_dir), show)


@cli.command()
def levels(days: Days = 7, data_dir: DataDir = None) -> None:
    """Show how fast events were delivered, and how runs ended."""
    with_app(settings_of(data_dir), lambda app: show_levels(app.history, days, Console()))


@cli.command()
def backup(
    target: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    data_dir: DataDir = None,
) -> None:
    """Write everything that a server needs to a folder; the server may go on working."""
    typer.echo("\n".join(backed_up(load({"data_dir": data_dir}), target)))


@cli.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A folder that `tidings backup` wrote.")],
    data_dir: DataDir = None,
) -> None:
    """Put a backup in the place of what is here; the server must not run."""
    typer.echo("\n".join(restored(load({"data_dir": data_dir}), source)))


@cli.command()
def doctor(data_dir: DataDir = None) -> None:
    """Say what is configured, reachable and writable, and in which versions."""
    settings = settings_of(data_dir)
    healthy = with_app(settings, lambda app: examination.examine(app, settings, Console()))
    raise SystemExit(0 if healthy else EXIT_FAILED)


@cli.command()
def demo(
    file: Annotated[Path | None, typer.Option(help="A usage log of your own.")] = None,
    ask: Annotated[str, typer.Option(help="The question.")] = demonstration.QUESTION,
    once: Annotated[bool, typer.Option(help="Stop the server at the end.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Where it is kept.")] = Path("demo-data"),
) -> None:
    """Start a server, import a usage log, ask, watch, and read the report."""
    if file is not None and not file.is_file():
        raise InvalidInput("no_such_file", f"There is no file {file}.")
    raise SystemExit(demonstration.run(data_dir, file, ask, once=once))


def _as_user(server: str | None, user: str | None, data_dir: Path | None) -> Server:
    settings = settings_of(data_dir)
    access = settings.token or with_app(settings, lambda app: _token_of(app, settings, user))
    return Server(server or read_address(settings.data_dir), access)


async def _token_of(app: App, settings: Settings, name: str | None) -> str:
    active = [user.name for user in await app.identity.list_users() if not user.disabled]
    if name is None and len(active) != 1:
        raise InvalidInput(
            "user_unclear",
            "Say who asks with --user; `tidings user add NAME` makes a user."
            if active
            else nobody_in(settings),
        )
    return await app.identity.issue_token(name or active[0])


async def _admin_token(app: App, name: str | None) -> str:
    """Return the token of an administrator of this machine: the named one, else the first."""
    users = await app.identity.list_users()
    admins = [user.name for user in users if user.admin and not user.disabled]
    if name is None and not admins:
        raise InvalidInput(
            "user_unclear", "There is no administrator yet; `tidings user promote NAME` makes one."
        )
    return await app.identity.issue_token(name or admins[0])


def _as_json(applied: Apply) -> None:
    _write_line(applied.raw)


def _write_line(frame: bytes) -> None:
    sys.stdout.write(frame.decode() + "\n")
    sys.stdout.flush()


def _as_text() -> Callable[[Apply], None]:
    show = Show(Console(highlight=False))
    return lambda applied: show.event(applied.event)


def _shown() -> Callable[[bytes], None]:
    show = Show(Console(highlight=False))
    return lambda frame: show.event(msgspec.json.decode(frame, type=Event))
