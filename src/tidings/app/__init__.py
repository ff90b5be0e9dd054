"""The composition root: the only place that chooses adapters and wires components."""

from tidings.app.application import App
from tidings.app.system import Around, build, new_ids
from tidings.app.tiers import back_up, migrate, move, restore

__all__ = ["App", "Around", "back_up", "build", "migrate", "move", "new_ids", "restore"]
