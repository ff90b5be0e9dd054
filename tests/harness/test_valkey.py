"""The server that tests of the hot tier run on does what they need of it."""

import time

import pytest
from redis import Redis
from redis import TimeoutError as Late
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.harness.valkey import ValkeyServer


def test_it_is_emptied_and_comes_back_empty_from_a_kill(valkey: ValkeyServer) -> None:
    valkey.control.set("a", "1")
    valkey.flush()
    assert valkey.control.get("a") is None

    valkey.control.set("a", "1")
    valkey.kill()
    valkey.start()
    assert valkey.control.get("a") is None


def test_while_it_is_paused_nobody_is_answered(valkey: ValkeyServer) -> None:
    once = Retry(NoBackoff(), 0)
    with Redis(port=valkey.port, socket_timeout=0.05, retry=once) as client:
        client.ping()
        valkey.pause(0.3)
        began = time.monotonic()
        with pytest.raises(Late):
            client.ping()
        valkey.control.ping()
        assert time.monotonic() - began > 0.2
