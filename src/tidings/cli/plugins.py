"""What others bring: agents and tools of installed packages, named by the operator one by one."""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import entry_points

from tidings.app import App
from tidings.domain.errors import InvalidInput

GROUP = "tidings"

Register = Callable[[App], None]
"""`def register(app)`: adds agents and tools before the server begins."""


def plugins(names: Sequence[str]) -> list[Register]:
    """Return what these names stand for; nothing is loaded unnamed.

    A name is an entry point of the group `tidings` of an installed package, or `module:function`.

    Raises:
        InvalidInput: `unknown_plugin`: it is not there, or cannot be imported.
    """
    return [_found(name) for name in names]


def _found(name: str) -> Register:
    module, _, function = name.partition(":")
    points = entry_points(group=GROUP)
    if not function and name not in points.names:
        raise _unknown(name, "no installed package has an entry point of this name")
    try:
        if function:
            register: Register = getattr(import_module(module), function)
        else:
            register = points[name].load()
    except (ImportError, AttributeError, KeyError, ValueError) as error:
        raise _unknown(name, str(error)) from error
    return register


def _unknown(name: str, why: str) -> InvalidInput:
    known = ", ".join(sorted(point.name for point in entry_points(group=GROUP))) or "none"
    return InvalidInput(
        "unknown_plugin",
        f"TIDINGS_PLUGINS names {name}, which cannot be loaded ({why}). Installed: {known}.",
    )
