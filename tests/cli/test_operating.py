"""`serve`, `user`, `token`, `doctor`: what the operator of the machine types."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.conftest import ENDINGS
from tests.harness.cli import Ran, refused, start, tidings
from tests.harness.server import ENVIRONMENT, ServerProcess, User
from tidings.client.http import Api
from tidings.domain.errors import InvalidInput, TidingsError
from tidings.settings import load, unknown

PASSWORD = "a long enough password"


def add(data_dir: Path, name: str, password: str = PASSWORD) -> Ran:
    return tidings(
        "user", "add", name, "--password-stdin", "--data-dir", data_dir, stdin=f"{password}\n"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_prints_one_line_and_stops_when_told_to(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = start("serve", "--data-dir", tmp_path, "--port", "0")
    assert process.stdout is not None
    first = process.stdout.readline()
    assert re.fullmatch(r"ready http://127\.0\.0\.1:\d+\n", first)
    process.send_signal(number)
    rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest, errors) == (0, "", "")


def test_a_server_that_cannot_serve_says_why_in_one_line(
    server: ServerProcess, tmp_path: Path
) -> None:
    refused(tidings("serve", "--data-dir", tmp_path, "--port", "99999"), "bad_setting")
    refused(tidings("serve", "--data-dir", tmp_path, TIDINGS_PORT="http"), "bad_setting")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused(tidings("serve", "--data-dir", tmp_path, "--port", port), "address_in_use")
    in_use = tidings("serve", "--data-dir", server.data_dir, "--port", "0")
    refused(in_use, "data_dir_in_use")


def test_a_data_directory_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for command in (("serve", "--port", "0"), ("doctor",)):
        ran = tidings(*command, "--data-dir", file)
        assert ran == Ran(1, "", f"tidings: {file}: File exists (os_error)\n")


def test_a_store_that_cannot_be_opened_says_what_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "tidings.db").mkdir()
    ran = tidings("user", "list", "--data-dir", tmp_path)
    refused(ran, "storage_unavailable")
    assert "Its folder may not be written, or its disk is full." in ran.err


def test_users_are_added_listed_and_shut_out(tmp_path: Path) -> None:
    assert add(tmp_path, "ana") == Ran(0, "added ana\n", "")
    assert add(tmp_path, "bob").status == 0
    assert tidings("user", "list", "--data-dir", tmp_path).out == "ana\nbob\n"
    disabled = tidings("user", "disable", "bob", "--data-dir", tmp_path)
    assert disabled == Ran(0, "disabled bob\n", "")
    assert tidings("user", "list", "--data-dir", tmp_path).out == "ana\nbob  disabled\n"
    refused(tidings("token", "bob", "--data-dir", tmp_path), "not_found")
    refused(add(tmp_path, "ana"), "name_taken")


def test_users_are_made_administrators_and_back(tmp_path: Path) -> None:
    listed = ("user", "list", "--data-dir", tmp_path)
    folder = ("--data-dir", tmp_path)
    new = ("user", "add", "root", "--password-stdin", "--admin", *folder)
    assert tidings(*new, stdin=f"{PASSWORD}\n") == Ran(0, "added root\n", "")
    assert tidings(*listed).out == "root  admin\n"
    assert tidings("user", "demote", "root", *folder) == Ran(0, "demoted root\n", "")
    assert tidings(*listed).out == "root\n"
    assert tidings("user", "promote", "root", *folder) == Ran(0, "promoted root\n", "")
    assert tidings(*listed).out == "root  admin\n"
    refused(tidings("user", "promote", "nobody", *folder), "not_found")


def test_without_a_terminal_a_command_names_the_flag_to_use(tmp_path: Path) -> None:
    folder = ("--data-dir", tmp_path)
    for command, flag in ((("add", "ana"), "--password-stdin"), (("delete", "ana"), "--yes")):
        ran = tidings("user", *command, *folder)
        assert ran == Ran(
            1, "", f"tidings: There is no terminal to ask at; use {flag}. (no_terminal)\n"
        )


def test_who_looks_at_the_wrong_folder_is_told_which_it_is(tmp_path: Path) -> None:
    said = f"There is no user yet in {tmp_path}; make one with `tidings user add NAME`."
    assert tidings("user", "list", "--data-dir", tmp_path) == Ran(0, "", f"{said}\n")
    ran = tidings("ask", "hello", "--data-dir", tmp_path)
    assert ran == Ran(1, "", f"tidings: {said} (user_unclear)\n")


def test_the_version_is_printed_alone() -> None:
    assert tidings("--version") == Ran(0, f"{version('tidings')}\n", "")


def test_a_misspelt_setting_is_said_with_the_one_that_was_meant(tmp_path: Path) -> None:
    said = "TIDINGS_MODLE is no setting and has no effect. Did you mean TIDINGS_MODEL?"
    ran = tidings("doctor", "--data-dir", tmp_path, TIDINGS_MODLE="openai:gpt-5", COLUMNS="200")
    assert (ran.status, said in ran.out) == (0, True)
    none = {"TIDINGS_PORT": "1", "TIDINGS_TOKEN_FILE": "f", "TIDINGS_TEST_DATA": "d", "HOME": "/"}
    assert unknown(none) == ()
    assert unknown({"TIDINGS_ABRACADABRA": ""}) == (
        "TIDINGS_ABRACADABRA is no setting and has no effect.",
    )


def test_the_doctor_says_which_tiers_are_not_reached(tmp_path: Path) -> None:
    nowhere = {
        "TIDINGS_HOT_URL": "redis://127.0.0.1:1",
        "TIDINGS_COLD_URL": "http://127.0.0.1:1",
        "TIDINGS_TEMPORAL_ADDRESS": "127.0.0.1:1",
    }
    ran = tidings("doctor", "--data-dir", tmp_path, **nowhere)
    assert (ran.status, ran.err) == (0, ""), "a server works without them"
    for tier in ("hot", "cold", "scheduler"):
        assert re.search(rf"▲\s+{tier}\s+\S", ran.out), tier
    refused(tidings("usage", "--data-dir", tmp_path, **nowhere), "cold_unavailable")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LOG_LEVEL", "loud", "must be one of debug, info, warning, error."),
        ("ORIGINS", "example.org", "example.org is none; an origin is https://host"),
        ("ORIGINS", "https://example.org/page", "is none; an origin is https://host"),
        ("ROLE", "worker", "A worker shares a PostgreSQL with others: set TIDINGS_DATABASE_URL."),
    ],
)
def test_a_setting_that_does_not_fit_says_what_would(variable: str, value: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(said)):
        load({}, {f"TIDINGS_{variable}": value})


def test_a_plugin_that_is_not_installed_is_named_with_those_that_are(tmp_path: Path) -> None:
    ran = tidings("serve", "--data-dir", tmp_path, "--port", "0", TIDINGS_PLUGINS="gretter")
    refused(ran, "unknown_plugin")
    assert "(no installed package has an entry point of this name)" in ran.err


def test_a_token_is_printed_alone_and_opens_the_door(ana: User, tmp_path: Path) -> None:
    ran = tidings("token", ana.name, "--data-dir", ana.server.data_dir)
    assert (ran.status, ran.err) == (0, "")
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", ran.out)
    api = Api(ana.server.url, ran.out.strip())
    with pytest.raises(TidingsError) as refusal:
        asyncio.run(api.report("rp_none", "json"))
    assert refusal.value.code == "not_found"


def test_the_doctor_names_versions_settings_and_what_is_writable(server: ServerProcess) -> None:
    ran = tidings("doctor", "--data-dir", server.data_dir, TIDINGS_TOKEN="not to be shown")
    assert (ran.status, ran.err) == (0, "")
    for word in ("tidings", "python", "sqlite", "duckdb", "genai-prices"):
        assert re.search(rf"^\s+{word}\s+\d", ran.out, re.MULTILINE) or word == "python", word
    assert re.search(r"python\s+3\.\d+", ran.out)
    assert re.search(r"TIDINGS_DATA_DIR\s+\S", ran.out)
    assert re.search(r"✔\s+database\s+readable and writable", ran.out)
    assert re.search(r"✔\s+disk\s", ran.out)
    assert "not to be shown" not in ran.out


def test_a_server_of_ones_own_refuses_in_one_line_too(server: ServerProcess) -> None:
    ran = subprocess.run(
        [sys.executable, ENDINGS],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
        env=ENVIRONMENT | {"TIDINGS_DATA_DIR": str(server.data_dir), "TIDINGS_PORT": "0"},
    )
    refused(Ran(ran.returncode, ran.stdout, ran.stderr), "data_dir_in_use")
