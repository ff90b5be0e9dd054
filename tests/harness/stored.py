"""What a server's store holds, read from its file as the invariant checker takes it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.invariants import LoggedEvent, LoggedStreams
from tidings.app import DATABASE_FILE


def stored_streams(data_dir: Path, lost: frozenset[bytes] = frozenset()) -> LoggedStreams:
    """Read the streams of a data directory; a server may be writing to it meanwhile.

    What a joined row stands for is in its frame; the rows that it took in have none.
    """
    with closing(sqlite3.connect(data_dir / DATABASE_FILE)) as connection:
        connection.execute("begin")
        frames = connection.execute("select frame from events where length(frame) > 0").fetchall()
        streams = connection.execute("select stream, user_id, first_offset from streams").fetchall()
    return LoggedStreams(
        events=[LoggedEvent(bytes(frame)) for (frame,) in frames],
        owners={stream: user for stream, user, _ in streams},
        firsts={stream: first for stream, _, first in streams},
        lost=lost,
    )
