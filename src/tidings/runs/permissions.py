"""What users let tools do, as it is stored."""

from collections.abc import Mapping

from tidings.domain.context import UserContext
from tidings.domain.permissions import Permission
from tidings.storage.warm.port import Transaction


async def told(tx: Transaction, context: UserContext) -> dict[str, Permission]:
    """Return what the user has said, by tool."""
    rows = await tx.execute(
        "select tool, permission from tool_permissions where user_id = ?", context.user_id
    )
    return {tool: Permission(permission) for tool, permission in rows}


async def tell(
    tx: Transaction, context: UserContext, changes: Mapping[str, Permission | None]
) -> None:
    """Store what the user says about some tools; None: nothing any more."""
    for tool, permission in changes.items():
        await tx.execute(
            "delete from tool_permissions where user_id = ? and tool = ?", context.user_id, tool
        )
        if permission is not None:
            await tx.execute(
                "insert into tool_permissions (user_id, tool, permission) values (?, ?, ?)",
                context.user_id,
                tool,
                permission,
            )
