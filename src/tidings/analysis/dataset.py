"""A data set: the files of one user that a query may read."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Dataset:
    """Data set files whose owner is `user_id`; made by the library, which has checked it.

    `fields` are those of the usage record that any row fills, `models` the pairs of provider and
    model that occur.
    """

    user_id: str
    paths: tuple[Path, ...]
    rows: int = 0
    fields: frozenset[str] = frozenset()
    models: tuple[tuple[str | None, str | None], ...] = ()
