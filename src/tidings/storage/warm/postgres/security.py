"""Row-level security: the second wall between users, below the `user_id` in every query.

Two roles that own nothing take the units of work: one that sees the rows of the user whom the
transaction names, and nothing without one; and the server's own, which sees all.
"""

from collections.abc import Sequence

USER_ROLE = "tidings_user"
SERVER_ROLE = "tidings_server"
ROLES = (USER_ROLE, SERVER_ROLE)
USER_SETTING = "tidings.user_id"
USER_POLICY = "of_user"
SERVER_POLICY = "of_server"

SHARED = {
    "store": "select",
    "tidings_schema": "select",
    "epochs": "",
    "tool_pins": "",
    "duties": "",
    "nodes": "",
    "agreements": "",
}
"""Tables without a user's rows, and what the user's role may do with them."""

_THROUGH = {
    "refresh_tokens": ("sessions", "session_id"),
    "events": ("streams", "stream"),
    "steps": ("runs", "run_id"),
    "webhook_deliveries": ("webhooks", "webhook_id"),
}
"""Tables whose rows are the user's whose the row of another table is, and the column for that."""

_USER = f"(select nullif(current_setting('{USER_SETTING}', true), ''))"
_ALL = "select, insert, update, delete"


def is_known(table: str, columns: Sequence[str]) -> bool:
    """Tell whether it is decided whose the rows of a table are."""
    return table in SHARED or table in _THROUGH or "user_id" in columns


def policies(table: str) -> set[str]:
    """Return the policies that a table must have, and no others.

    Name, kind, command, role, and whether it is about one user's rows or all.
    """
    found = {f"{SERVER_POLICY} PERMISSIVE ALL {SERVER_ROLE} all"}
    if SHARED.get(table, _ALL):
        rows = "all" if table in SHARED else "one"
        found.add(f"{USER_POLICY} PERMISSIVE ALL {USER_ROLE} {rows}")
    return found


def open_to_owner(table: str) -> str:
    """Return what lets the owner see a table while it is changed."""
    return f"alter table {table} no force row level security;"


def protect(table: str) -> str:
    """Return the statements that wall a table off, whatever was there before."""
    grants = SHARED.get(table, _ALL)
    users = (
        f"create policy {USER_POLICY} on {table} to {USER_ROLE}"
        f" using ({_condition(table)}) with check ({_condition(table)});"
        f"grant {grants} on {table} to {USER_ROLE};"
    )
    return (
        f"alter table {table} enable row level security;"
        f"alter table {table} force row level security;"
        f"drop policy if exists {USER_POLICY} on {table};"
        f"drop policy if exists {SERVER_POLICY} on {table};"
        f"revoke all on {table} from {USER_ROLE}, {SERVER_ROLE};"
        f"create policy {SERVER_POLICY} on {table} to {SERVER_ROLE} using (true) with check (true);"
        f"grant {_ALL} on {table} to {SERVER_ROLE};"
    ) + (users if grants else "")


def _condition(table: str) -> str:
    if table in SHARED:
        return "true"
    if table not in _THROUGH:
        return f"user_id = {_USER}"
    parent, key = _THROUGH[table]
    return (
        f"exists (select 1 from {parent} where {parent}.{key} = {table}.{key}"  # noqa: S608 - names
        f" and {parent}.user_id = {_USER})"
    )
