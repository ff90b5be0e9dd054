"""`tidings ask` and `tidings replay`, as processes against a server process."""

import asyncio
import json
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.conftest import ENDINGS
from tests.harness.cli import Ran, refused, start, tidings
from tests.harness.server import User, add_users, serving

END_SECONDS = 60


def ask(user: User, agent: str, *more: str | Path, text: str = "hello") -> Ran:
    data_dir = user.server.data_dir
    return tidings(
        "ask", text, "--agent", agent, "--data-dir", data_dir, *more, TIDINGS_TOKEN=user.token
    )


@pytest.mark.parametrize(
    ("agent", "status", "end"),
    [
        ("completes", 0, "agent_completed"),
        ("degrades", 3, "agent_completed"),
        ("fails", 1, "agent_failed"),
        ("breaks", 1, "agent_failed"),
    ],
)
def test_the_exit_status_says_how_the_run_ended(
    ana: User, agent: str, status: int, end: str
) -> None:
    ran = ask(ana, agent, "--json")
    assert (ran.status, ran.err) == (status, "")
    assert ran.events[0]["type"] == "message_received"
    assert ran.events[-1]["type"] == end
    assert "ZeroDivisionError" not in ran.out


def test_people_see_the_run_and_its_answer(ana: User) -> None:
    """The operator of the machine needs no token: the user of the data directory asks."""
    ran = tidings(
        "ask", "grüß dich ✓", "--agent", "completes", "--user", ana.name,
        "--data-dir", ana.server.data_dir,
    )  # fmt: skip
    assert (ran.status, ran.err) == (0, "")
    assert "> grüß dich ✓" in ran.out
    assert "● completes" in ran.out
    assert "You said: grüß dich ✓" in ran.out


def test_whom_one_can_ask_is_listed_with_what_each_does(ana: User) -> None:
    folder = ("--data-dir", ana.server.data_dir)
    ran = tidings("agents", *folder, TIDINGS_TOKEN=ana.token)
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(line.split()[0] for line in lines)
    assert "asked where none is named" in lines[0]
    assert any(line.split() == ["waits", "A", "test's."] for line in lines)
    refused(tidings("agents", *folder, TIDINGS_TOKEN="none"), "token_invalid")


def test_people_are_told_that_a_text_was_cut_off_and_see_the_answer(ana: User) -> None:
    ran = ask(ana, "cuts")
    assert "The answer beg" in ran.out
    assert "The text above was cut off: it is incomplete." in ran.out
    assert ran.out.index("incomplete") < ran.out.index("This is the answer.")


def test_people_are_told_why_an_answer_is_less_than_it_should_be(ana: User) -> None:
    ran = ask(ana, "degrades")
    assert ran.status == 3
    *_, end, why = ran.out.splitlines()
    assert end.startswith("▲ degrades degraded ")
    assert why.strip() == "The other half was not to be had."


def test_replay_prints_what_was_received_byte_for_byte(ana: User) -> None:
    data_dir = ana.server.data_dir
    first = ask(ana, "completes", "--json", text='quotes " and ünïcode \u2028 and 😀')
    run_id, thread_id = first.events[0]["run_id"], first.events[0]["thread_id"]
    second = ask(ana, "completes", "--json", "--thread", thread_id, text="and then?")
    assert second.events[0]["offset"] == first.events[-1]["offset"] + 1
    assert {e["run_id"] for e in second.events} & {run_id} == set()
    assert tidings("replay", run_id, "--data-dir", data_dir) == Ran(0, first.out, "")
    both = Ran(0, first.out + second.out, "")
    assert tidings("replay", thread_id, "--data-dir", data_dir) == both


def test_ctrl_c_cancels_the_run_and_waits_for_its_end(ana: User) -> None:
    process = waiting(ana)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=END_SECONDS)
    assert (process.returncode, errors) == (130, "")
    assert json.loads(rest.splitlines()[-1])["type"] == "agent_cancelled"


def test_ctrl_c_again_does_not_wait_for_a_server_that_is_gone(tmp_path: Path) -> None:
    with serving(tmp_path, ENDINGS) as server:
        (user,) = asyncio.run(add_users(server, "ana"))
        process = waiting(user)
        server.kill()
        for _ in range(END_SECONDS):
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
                break
        _, errors = process.communicate(timeout=END_SECONDS)
        assert process.returncode == 130
        assert "Traceback" not in errors


def waiting(user: User) -> "subprocess.Popen[str]":
    """Ask the agent that waits, and return once it says that it does."""
    process = start(
        "ask", "hold on", "--agent", "waits", "--json",
        "--data-dir", user.server.data_dir, TIDINGS_TOKEN=user.token,
    )  # fmt: skip
    assert process.stdout is not None
    assert any("I wait until I am stopped" in line for line in process.stdout)
    return process


def test_what_cannot_be_asked_is_refused_in_a_sentence(ana: User, tmp_path: Path) -> None:
    refused(ask(ana, "completes", "--file", tmp_path / "none.csv"), "no_such_file")
    refused(ask(ana, "complets"), "unknown_agent")
    refused(tidings("replay", "r_none", "--data-dir", ana.server.data_dir), "not_found")
    stranger = tidings("ask", "hi", "--data-dir", ana.server.data_dir, TIDINGS_TOKEN="nonsense")
    refused(stranger, "auth_failed")


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "nonsense"])
def test_a_server_that_is_not_there_is_soon_given_up(ana: User, address: str) -> None:
    refused(ask(ana, "completes", "--server", address), "server_unreachable")
