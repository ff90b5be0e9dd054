"""Ports for servers of tests: none that the system gives to connections that go out."""

import os
import socket
from contextlib import suppress
from itertools import cycle

PORTS = range(10_240, 32_768)
"""Below those that connections get. A port is free when it is looked for; it must be so later."""
PROCESSES_MAX = 16
"""Of one session: each has ports of its own, for two could find the same one free."""


def _own_ports() -> list[int]:
    share = len(PORTS) // PROCESSES_MAX
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES_MAX
    own = PORTS[number * share : (number + 1) * share]
    first = os.getpid() * 7919 % share  # those who share them begin far from each other
    return [*own[first:], *own[:first]]


_ports = cycle(_own_ports())


def free_port() -> int:
    """Return a port that nobody has now, another one each time."""
    for port in _ports:
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError
