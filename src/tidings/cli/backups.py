"""`tidings backup` and `tidings restore`: what they have done, in sentences."""

from pathlib import Path

from tidings.app import back_up, restore
from tidings.cli.serve import only_server
from tidings.settings import Settings
from tidings.storage.marks import make_folder


def backed_up(settings: Settings, target: Path) -> list[str]:
    """Write a backup; a server may be at work."""
    done = back_up(settings, target)
    what = f"{done.database_bytes:,} bytes, {done.data_sets} data sets"
    lines = [f"backed up {what} and {done.history_bytes:,} bytes of history to {target}"]
    if done.gone:
        lines.append(f"{done.gone} data sets were deleted meanwhile and are not in it")
    return lines


def restored(settings: Settings, source: Path) -> list[str]:
    """Put a backup in place; refuses while a server is at work.

    Raises:
        Conflict: `data_dir_in_use`.
    """
    make_folder(settings.data_dir, 0o700)
    with only_server(settings.data_dir):
        done = restore(settings, source)
    lines = [f"restored {settings.data_dir} from {source}; the next start begins a new epoch"]
    if done.loss is not None:
        lost = f"lost: {done.loss.events} events, whole threads: {done.loss.threads}"
        lines.append(f"{lost}; whoever has seen them is told")
    elif done.aside is not None:
        lines.append("what was here cannot be read, so nobody can tell what is lost")
    if done.aside is not None:
        lines.append(f"what was here is kept in {done.aside}; delete it when you are content")
    return lines
