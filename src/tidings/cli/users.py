"""`tidings user`: who may sign in."""

import sys
from typing import Annotated

import typer

from tidings.cli.opening import DataDir, settings_of, with_app
from tidings.domain.errors import InvalidInput, NotFound
from tidings.settings import Settings

users = typer.Typer(no_args_is_help=True, help="Who may sign in.")

Name = Annotated[str, typer.Argument(help="The user's name.")]


@users.command("add")
def user_add(
    name: Name,
    data_dir: DataDir = None,
    password_stdin: Annotated[bool, typer.Option(help="Read the password from stdin.")] = False,
    admin: Annotated[bool, typer.Option("--admin", help="May see how the server is.")] = False,
) -> None:
    """Create a user."""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        _need_terminal("--password-stdin")
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    with_app(settings_of(data_dir), lambda app: app.identity.add_user(name, password, admin=admin))
    typer.echo(f"added {name}")


@users.command("list")
def user_list(data_dir: DataDir = None) -> None:
    """Show every user."""
    settings = settings_of(data_dir)
    found = with_app(settings, lambda app: app.identity.list_users())
    if not found:
        typer.echo(nobody_in(settings), err=True)
    for user in found:
        words = ("admin",) * user.admin + ("disabled",) * user.disabled
        typer.echo("  ".join((user.name, *words)))


@users.command("promote")
def user_promote(name: Name, data_dir: DataDir = None) -> None:
    """Make a user an administrator, from their next request on."""
    with_app(settings_of(data_dir), lambda app: app.identity.appoint(name, admin=True))
    typer.echo(f"promoted {name}")


@users.command("demote")
def user_demote(name: Name, data_dir: DataDir = None) -> None:
    """Make an administrator a user like others, from their next request on."""
    with_app(settings_of(data_dir), lambda app: app.identity.appoint(name, admin=False))
    typer.echo(f"demoted {name}")


@users.command("disable")
def user_disable(name: Name, data_dir: DataDir = None) -> None:
    """Shut a user out, at once and everywhere."""
    with_app(settings_of(data_dir), lambda app: app.identity.disable_user(name))
    typer.echo(f"disabled {name}")


@users.command("delete")
def user_delete(
    name: Name,
    data_dir: DataDir = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a user with everything that is theirs, for good; the server may go on working."""
    settings = settings_of(data_dir)
    if not yes:
        _need_terminal("--yes")
        found = with_app(settings, lambda app: app.identity.list_users())
        if name not in [user.name for user in found]:
            raise NotFound(f"There is no user named {name}.")
        typer.confirm(f"Delete {name}, with all threads, files and history?", abort=True)
    gone = with_app(settings, lambda app: app.delete_user(name))
    typer.echo(f"deleted {name}: {gone.threads} threads, {gone.files} files")


def nobody_in(settings: Settings) -> str:
    """Say that there is no user, and where that is."""
    where = settings.data_dir if settings.alone else "the database"
    return f"There is no user yet in {where}; make one with `tidings user add NAME`."


def _need_terminal(instead: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("no_terminal", f"There is no terminal to ask at; use {instead}.")
