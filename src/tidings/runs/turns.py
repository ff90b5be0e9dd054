"""Whose turn it is: which of the runs that nobody works on may go on."""


def in_turn(held: str, free: str, update: str, returning: str) -> str:
    """Return a statement that does something to the runs which may go on, of those that are free.

    One at a time in a thread, in the order of its messages: one that waits keeps its place. So many
    of a user, with those `held`; oldest first, those in the background last. The last two values of
    the statement are how many of a user, and how many at all.
    """
    return (
        f"with held as (select user_id, thread_id from runs where {held}),"  # noqa: S608 - constants
        " free as (select run_id, user_id, thread_id, created_at, background,"
        "  row_number() over (partition by thread_id order by created_at, run_id) as turn"
        f"  from runs where {free}"
        "  and thread_id not in (select thread_id from held)"
        "  and thread_id not in (select thread_id from runs where state = 'waiting')),"
        " ready as (select run_id, created_at, background,"
        "  row_number() over (partition by user_id order by background, created_at, run_id)"
        "  + (select count(*) from held where held.user_id = free.user_id) as place"
        "  from free where turn = 1)"
        f" {update} and run_id in"
        "  (select run_id from ready where place <= ?"
        "   order by background, created_at, run_id limit ?)"
        f" returning {returning}"
    )
