"""What an import did: mapping, guesses, rejected rows, missing fields."""

import msgspec


class Mapping(msgspec.Struct, frozen=True):
    """A column of the source, the field it became, and why (`name`, `derived`, `kept`)."""

    source: str
    field: str
    how: str


class Guess(msgspec.Struct, frozen=True):
    """A unit that the source does not state, and what it was taken for."""

    field: str
    unit: str
    why: str


class Rejection(msgspec.Struct, frozen=True):
    """Rows left out for one reason; `first_row` is the line or record number, 0 when unknown."""

    reason: str
    rows: int
    first_row: int = 0


class ImportReport(msgspec.Struct, frozen=True):
    """The outcome of an import.

    `missing` names the canonical fields without any value, `models` the pairs of provider and model
    by which prices are looked up, the busiest first.
    """

    format: str
    rows: int
    rejected: int
    rejections: tuple[Rejection, ...]
    columns: tuple[Mapping, ...]
    guesses: tuple[Guess, ...]
    missing: tuple[str, ...]
    first_ts: str | None
    last_ts: str | None
    models: tuple[tuple[str | None, str | None], ...] = ()
