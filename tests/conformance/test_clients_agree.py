"""The Python and the TypeScript client do the same, whatever a server says: also nonsense."""

import json
import random
from pathlib import Path
from typing import Any

from tests.conformance.test_client_vectors import do
from tests.conformance.test_typescript_client import check, node
from tests.conformance.vectors import event, greeting
from tidings.domain.proof import Proof
from tidings.protocol.client import ClientCore

STORIES = 300
STEPS = 60
RARELY = 0.4
STREAMS = ("thread:t1", "thread:t2", "user:u1")
TYPES = ("message_received", "agent_started", "agent_thinking", "tool_executing", "notice")
ENDS = ("agent_completed", "agent_failed", "agent_cancelled")


class Storyteller:
    """Makes up what happens to a client, near enough to the truth to get somewhere."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._core = ClientCore("d1")
        self._core.follow("thread:t1")
        self._number = 0

    def story(self) -> dict[str, Any]:
        """Return a vector whose expectations are what the Python client did."""
        steps = [self._told(self._step()) for _ in range(STEPS)]
        return {"file": "made up", "name": f"{self._rng.random()}", "steps": steps}

    def _told(self, step: dict[str, Any]) -> dict[str, Any]:
        before = (self._core.duplicates, self._core.verified)
        done = do(self._core, step)
        return step | {
            "apply": done.applied,
            "sends": [_compared(frame) for frame in done.sends],
            "answered": done.answered,
            "lost": done.lost,
            "close": done.closes,
            "drop": self._core.duplicates - before[0],
            "verified": self._core.verified - before[1],
        }

    def _step(self) -> dict[str, Any]:
        stream = self._rng.choice(STREAMS)
        rare = (
            lambda: {"connect": True},
            lambda: {"messages": [greeting(self._statuses())]},
            lambda: {"ack_due": True},
            lambda: {"follow": {"stream": stream, "cursor": self._cursor()}},
            lambda: {"leave": stream},
            lambda: {"messages": [self._ending(stream)]},
            lambda: {"messages": [self._answer()]},
            lambda: {"messages": [[self._event(stream) for _ in range(self._rng.randrange(40))]]},
            self._command,
        )
        if self._rng.random() < RARELY:
            return self._rng.choice(rare)()
        return {"messages": [self._event(stream)]}

    def _command(self) -> dict[str, Any]:
        self._number += 1
        return {"command": {"type": "chat", "id": f"m{self._number}", "payload": {"text": "hi"}}}

    def _event(self, stream: str) -> dict[str, Any]:
        """Return an event of a stream: mostly the next one, else one from about there."""
        reading = self._core.streams.get(stream)
        last = (reading.last if reading else None) or 0
        offset = max(1, last + self._rng.choice([1, 1, 1, 1, 1, 1, 0, -1, 2, 3]))
        made: dict[str, Any] = {"event": offset, "stream": stream, "run_id": f"r{offset // 8}"}
        if self._rng.random() < 0.1:
            made["first_offset"] = max(1, offset - self._rng.randrange(3))
        kind = self._rng.choice([*TYPES, *ENDS])
        if kind in ENDS and reading is not None and self._rng.random() < 0.9:
            proof = reading.proofs.get(made["run_id"], Proof())
            wrong = self._rng.random() < 0.2
            made["payload"] = {"proof": {"count": proof.count + wrong, "digest": proof.digest}}
        return event(made | {"type": kind, "epoch": self._rng.choice(["k1", "k2"])})

    def _statuses(self) -> list[dict[str, Any]]:
        statuses = []
        for stream in self._rng.sample(STREAMS, self._rng.randrange(4)):
            if self._rng.random() < 0.2:
                refused = {"ok": False, "code": "cursor_diverged", "message": "No."}
                statuses.append({"stream": stream} | refused)
            else:
                reading = self._core.streams.get(stream)
                begins = ((reading.last if reading else None) or 0) + 1
                statuses.append({"stream": stream, "ok": True, "from": begins, "head": begins})
        return statuses

    def _cursor(self) -> str:
        offset = self._rng.randrange(1, 9)
        return self._rng.choice(["0", "live", f"k1.{offset}.{offset:08d}"])

    def _ending(self, stream: str) -> dict[str, Any]:
        reset = {"type": "reset", "stream": stream, "why": "retention", "snapshot": "/api/x"}
        error = {"type": "error", "ref": stream, "code": "not_found", "message": "No."}
        return self._rng.choice([reset, error, {"type": "revoked", "stream": stream}])

    def _answer(self) -> dict[str, Any]:
        ref = f"m{self._rng.randrange(self._number + 2)}"
        accepted = {
            "type": "accepted",
            "ref": ref,
            "run_id": "r1",
            "thread_id": self._rng.choice(["t1", "t2"]),
            "offset": self._rng.randrange(1, 9),
        }
        error = {"type": "error", "ref": ref, "code": "not_found", "message": "No."}
        live = {"type": "live", "stream": "thread:t1", "offset": self._rng.randrange(9)}
        subscribed = {
            "type": "subscribed",
            "stream": self._rng.choice(STREAMS),
            "cursor": self._rng.choice(["0", "live"]),
            "from": self._rng.randrange(1, 9),
            "head": 9,
        }
        return self._rng.choice(
            [accepted, error, live, subscribed, {"type": "ping", "n": 3}, {"type": "new"}]
        )


def _compared(frame: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a hello what is each client's own."""
    if frame["type"] != "hello":
        return frame
    return {name: frame[name] for name in ("type", "subscribe", "device", "versions")}


def test_the_two_clients_do_the_same_whatever_a_server_says(tmp_path: Path) -> None:
    rng = random.Random(20)
    stories = [Storyteller(rng).story() for _ in range(STORIES)]
    seen = {kind for story in stories for step in story["steps"] for kind in step if step[kind]}
    assert {"apply", "sends", "answered", "lost", "close", "drop", "verified"} <= seen
    sent = {frame["type"] for s in stories for step in s["steps"] for frame in step["sends"]}
    assert {"mismatch", "ack", "subscribe", "unsubscribe", "hello", "pong", "chat"} <= sent
    data = tmp_path / "stories.json"
    data.write_text(json.dumps(stories))
    check(node("vectors.test.js", VECTORS=data))
