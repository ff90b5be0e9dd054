"""Embedded hot tier: the listeners are in this process."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

N = TypeVar("N")


class LocalHints:
    """Calls listeners directly, in the order they asked."""

    def __init__(self) -> None:
        self._listeners: defaultdict[type, list[Callable[[Any], None]]] = defaultdict(list)

    def publish(self, note: object) -> None:
        for listener in self._listeners[type(note)]:
            listener(note)

    def listen(self, kind: type[N], listener: Callable[[N], None]) -> None:
        self._listeners[kind].append(listener)
