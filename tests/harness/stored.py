"""What a server's store holds, read beside it as the invariant checker takes it."""

from collections.abc import Sequence
from pathlib import Path

from tests.invariants import LoggedEvent, LoggedStreams
from tests.stores import rows_of


def stored_streams(
    place: Path | str, lost: frozenset[bytes] = frozenset(), users: Sequence[str] = ()
) -> LoggedStreams:
    """Read the streams of a folder or a database, or of some users; servers may be writing.

    What a joined row stands for is in its frame; the rows that it took in have none. What is kept
    of a trimmed history, for snapshots, is no part of the streams any more.
    """
    of_users = f"where user_id in ({', '.join('?' * len(users))})" if users else ""
    rows = rows_of(
        place,
        "select s.stream, s.user_id, s.first_offset, e.frame"
        f" from (select * from streams {of_users}) s left join events e on e.stream = s.stream"
        ' and length(e.frame) > 0 and e."offset" >= s.first_offset'
        ' order by s.stream, e."offset"',
        *users,
    )
    return LoggedStreams(
        events=[LoggedEvent(bytes(frame)) for *_, frame in rows if frame is not None],
        owners={stream: user for stream, user, _, _ in rows},
        firsts={stream: first for stream, _, first, _ in rows},
        lost=lost,
    )
