"""A data set: the files of one user that a query may read."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Dataset:
    """Data set files whose owner is `user_id`; made by the library, which has checked it."""

    user_id: str
    paths: tuple[Path, ...]
