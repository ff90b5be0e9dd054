"""Holds a program on a leash: when the process at its other end dies, so does the program.

Run by its path, with a pipe that is inherited and that nobody writes to, the names of the variables
that the program gets, separated by commas, and the program with its arguments. When the program
ends, or the pipe does, whatever it has started in its process group is killed. It imports nothing
of this package, for it shall be up in an instant.
"""

import os
import select
import signal
import sys
from contextlib import suppress

NO_PROGRAM_STATUS = 126


def main(life: int, names: str, command: list[str]) -> None:
    """Start the program, and stay until it has ended."""
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    program = os.fork()
    if program == 0:
        _become(life, names, command)
    _let_go_of_streams()
    ended = False
    while not ended:
        ready, _, _ = select.select([life, woken], [], [])
        ended = life in ready or _has_ended(program)
        if not ended:
            os.read(woken, 64)
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(program, signal.SIGKILL)
    os.waitpid(program, 0)


def _become(life: int, names: str, command: list[str]) -> None:
    os.setsid()
    os.close(life)
    # what the interpreter has added to the environment is not passed on
    had = os.environ  # noqa: TID251 - that of a process of its own
    environment = {name: had[name] for name in names.split(",") if name in had}
    try:
        os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(NO_PROGRAM_STATUS)


def _has_ended(program: int) -> bool:
    """Return whether the program has ended; it is not reaped yet, so that its id stays its own."""
    how = os.WEXITED | os.WNOWAIT | os.WNOHANG
    return os.waitid(os.P_PID, program, how) is not None


def _let_go_of_streams() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
