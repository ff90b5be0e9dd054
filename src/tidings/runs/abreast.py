"""Things done side by side, with one end: what is raised is raised as if it had been done alone."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from tidings.domain.budgets import BudgetSpent

T = TypeVar("T")


async def abreast(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all of it at the same time; return the results in the order given.

    A budget that is spent lets the others come to their end before it is raised, for they are paid
    for. Anything else that is raised stops the others.
    """
    if len(works) == 1:
        return [await works[0]]
    try:
        async with asyncio.TaskGroup() as tasks:
            ending = [tasks.create_task(_paid(work)) for work in works]
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
    ended = [task.result() for task in ending]
    for end in ended:
        if isinstance(end, BudgetSpent):
            raise end
    return [end for end in ended if not isinstance(end, BudgetSpent)]


async def _paid(work: Coroutine[Any, Any, T]) -> T | BudgetSpent:
    try:
        return await work
    except BudgetSpent as error:
        return error
