"""`tidings demo`: the main job from nothing: server, user, data, question, live run, report."""

import asyncio
import json
import random
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from tidings.analysis.workload import generate, write_csv
from tidings.app import build, new_ids
from tidings.cli.ask import Inquiry, Server, ask, exit_code
from tidings.cli.serve import read_address
from tidings.cli.show import Show
from tidings.cli.tables import ShownDocument
from tidings.client.http import Api
from tidings.domain.errors import Unavailable
from tidings.domain.events import Event
from tidings.settings import load
from tidings.storage.marks import make_folder

QUESTION = "Where does our money go, and how do we cut spend and latency without losing quality?"
SEED = 7
STOP_SECONDS = 15


def run(data_dir: Path, file: Path | None, question: str, *, once: bool) -> int:
    """Run the demonstration and return the exit status of its question."""
    console = Console(highlight=False)
    make_folder(data_dir, 0o700)
    with _server(data_dir) as url:
        console.print(
            f"[green]✔[/] server    {url}  [dim](everything is kept in {data_dir}/)[/]",
            soft_wrap=True,
        )
        name, password, token = asyncio.run(_sign_up(data_dir))
        console.print(f"[green]✔[/] user      {name}")
        path = file or _generate(data_dir)
        terminal = asyncio.run(_ask(console, Server(url, token), path, question, data_dir))
        console.print(
            f"\n  chat page   {url}/   [dim]sign in as[/] {name} [dim]with[/] {password}",
            soft_wrap=True,
        )
        if not once:
            console.print("  The server stays up. Ctrl-C ends it.")
            _wait_for_ctrl_c()
    return exit_code(terminal)


@contextmanager
def _server(data_dir: Path) -> Iterator[str]:
    """Start a server on a free port and stop it afterwards."""
    command = [sys.executable, "-m", "tidings", "serve", "--data-dir", str(data_dir), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("ready "):
                raise Unavailable("server_not_started", "The server did not start; see above.")
            yield read_address(data_dir)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


async def _sign_up(data_dir: Path) -> tuple[str, str, str]:
    """Make a user of this demonstration's own; return name, password and an access token."""
    app = build(load({"data_dir": data_dir}))
    name, password = f"demo-{secrets.token_hex(2)}", secrets.token_urlsafe(12)
    try:
        await app.identity.add_user(name, password)
        return name, password, await app.identity.issue_token(name)
    finally:
        await app.close()


def _generate(data_dir: Path) -> Path:
    path = data_dir / "usage.csv"
    with path.open("w", newline="") as file:
        write_csv(generate(random.Random(SEED)), file)  # noqa: S311 - a workload, not a secret
    return path


async def _ask(
    console: Console, server: Server, path: Path, question: str, data_dir: Path
) -> Event:
    api = Api(server.url, server.token)
    uploaded = await api.upload(path)
    found = uploaded["import_report"]
    console.print(f"[green]✔[/] imported  {path}  [dim]{found['rows']:,} rows[/]\n", soft_wrap=True)
    show = Show(console)
    asked = Inquiry(question, file_ids=(uploaded["file_id"],))
    terminal = await ask(server, asked, new_ids(), lambda applied: show.event(applied.event))
    if terminal.payload.get("report_id"):
        await _report(console, api, terminal.payload["report_id"], data_dir)
    return terminal


async def _report(console: Console, api: Api, report_id: str, data_dir: Path) -> None:
    folder = data_dir / "reports" / report_id
    folder.mkdir(parents=True, exist_ok=True)
    documents = {form: await api.report(report_id, form) for form in ("md", "html", "json")}
    for form, body in documents.items():
        (folder / f"report.{form}").write_bytes(body)
    console.print(Rule("the report", style="dim"))
    console.print(ShownDocument(json.loads(documents["json"])["text"]))
    console.print(Rule(style="dim"))
    console.print(f"  report      {folder}/report.html  [dim](also .md, .json)[/]", soft_wrap=True)


def _wait_for_ctrl_c() -> None:
    try:
        while True:
            input()
    except (KeyboardInterrupt, EOFError):
        return
