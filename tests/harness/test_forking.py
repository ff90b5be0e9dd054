"""A forked process is like one that was started: its words, environment, files, signals and end."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from tempfile import TemporaryFile

import pytest

from tests.harness.forking import ForkedProcess
from tests.harness.server import ENVIRONMENT

TALKS = """
import os, sys
print(*sys.argv[1:], os.environ["MOOD"], __name__, sys.stdin.read())
print("to the side", file=sys.stderr)
sys.exit(3)
"""
WAITS = """
import time
print("waiting", flush=True)
time.sleep(600)
"""
LEAVES = """
import os, sys
from tests.harness.forking import ForkedProcess
from tests.harness.server import ENVIRONMENT
print(ForkedProcess(sys.argv[1:], ENVIRONMENT, (0, 1, 2)).pid, flush=True)
sys.stdin.read()
"""


def test_it_is_given_words_an_environment_and_files_and_says_how_it_ended(tmp_path: Path) -> None:
    program = tmp_path / "talks.py"
    program.write_text(TALKS)
    with TemporaryFile("w+") as asked, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        asked.write("a question")
        asked.seek(0)
        files = (asked.fileno(), out.fileno(), err.fileno())
        words = [str(program), "one", "two"]
        assert ForkedProcess(words, ENVIRONMENT | {"MOOD": "good"}, files).wait(20) == 3
        out.seek(0)
        err.seek(0)
        assert (out.read(), err.read()) == (
            "one two good __main__ a question\n",
            "to the side\n",
        )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_it_and_its_end_is_told(tmp_path: Path, number: signal.Signals) -> None:
    program = tmp_path / "waits.py"
    program.write_text(WAITS)
    reading, writing = os.pipe()
    process = ForkedProcess([str(program)], ENVIRONMENT, (0, writing, 2))
    os.close(writing)
    with os.fdopen(reading) as out:
        assert out.readline() == "waiting\n"
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(20) == -number
        assert process.poll() == process.wait(20)
        process.send_signal(signal.SIGKILL)  # nobody is there any more
        assert out.read() == ""


def test_several_are_there_at_once_and_none_holds_the_files_of_another(tmp_path: Path) -> None:
    program = tmp_path / "waits.py"
    program.write_text(WAITS)
    pipes = [os.pipe() for _ in range(3)]
    processes = [ForkedProcess([str(program)], ENVIRONMENT, (0, w, 2)) for _, w in pipes]
    for _, writing in pipes:
        os.close(writing)
    for process, (reading, _) in zip(processes, pipes, strict=True):
        with os.fdopen(reading) as out:
            process.send_signal(signal.SIGKILL)
            assert process.wait(20) == -signal.SIGKILL
            assert out.read() in {"", "waiting\n"}  # to the end: nobody else could still write


def test_it_ends_when_the_tests_that_started_it_are_killed(tmp_path: Path) -> None:
    program = tmp_path / "waits.py"
    program.write_text(WAITS)
    command = [sys.executable, "-c", LEAVES, str(program)]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, env=ENVIRONMENT) as session:
        assert session.stdout is not None
        told = sorted(session.stdout.readline() for _ in range(2))
        assert told[1] == "waiting\n"
        process = os.pidfd_open(int(told[0]))
        session.kill()
    assert select.select([process], [], [], 20) == ([process], [], [])
    os.close(process)
