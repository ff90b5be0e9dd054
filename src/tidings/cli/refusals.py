"""How a command says no: one line on stderr, and exit status 1."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tidings.domain.errors import TidingsError

EXIT_FAILED = 1


@contextmanager
def refusals_in_a_line() -> Iterator[None]:
    """End the process with a sentence when the block is refused, by us or by the system."""
    try:
        yield
    except TidingsError as error:
        _end(f"{error.message} ({error.code})")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(f"{where}{error.strerror or error} (os_error)")


def _end(sentence: str) -> None:
    sys.stderr.write(f"tidings: {sentence}\n")
    raise SystemExit(EXIT_FAILED) from None
