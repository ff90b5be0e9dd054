"""What a server's store holds, read from its file as the invariant checker takes it."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tests.invariants import LoggedEvent, LoggedStreams
from tidings.storage.backups import DATABASE_FILE


def stored_streams(
    data_dir: Path, lost: frozenset[bytes] = frozenset(), users: Sequence[str] = ()
) -> LoggedStreams:
    """Read the streams of a data directory, or of some users; a server may be writing meanwhile.

    What a joined row stands for is in its frame; the rows that it took in have none. What is kept
    of a trimmed history, for snapshots, is no part of the streams any more.
    """
    of_users = f"where user_id in ({', '.join('?' * len(users))})" if users else ""
    with closing(sqlite3.connect(data_dir / DATABASE_FILE)) as connection:
        connection.execute("begin")
        streams = connection.execute(
            f"select stream, user_id, first_offset from streams {of_users}", users
        ).fetchall()
        frames = [
            row
            for stream, _, first in streams
            for row in connection.execute(
                'select frame from events where stream = ? and length(frame) > 0 and "offset" >= ?',
                (stream, first),
            )
        ]
    return LoggedStreams(
        events=[LoggedEvent(bytes(frame)) for (frame,) in frames],
        owners={stream: user for stream, user, _ in streams},
        firsts={stream: first for stream, _, first in streams},
        lost=lost,
    )
