"""The numbered scripts of the schema: the same for every engine, portable SQL."""

from importlib import resources

from tidings.domain.errors import Unusable


def scripts() -> list[tuple[str, str]]:
    """Return name and text of each script, in order; the n-th makes version n."""
    folder = resources.files("tidings.storage.warm") / "migrations"
    return sorted((f.name, f.read_text()) for f in folder.iterdir() if f.name.endswith(".sql"))


def too_new() -> Unusable:
    """Return the refusal to work with a schema that this version does not know."""
    return Unusable("store_too_new", "These data were written by a newer version of Tidings.")
