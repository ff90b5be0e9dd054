"""How moments are written."""

from datetime import UTC, datetime


def rfc3339(now: float) -> str:
    """Write seconds since 1970 as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
