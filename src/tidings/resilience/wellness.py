"""Who does well: judged by what they did of late for several users, and never for good."""

from dataclasses import dataclass

WELLNESS_WINDOW_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Record:
    """What became of somebody's work within the window; `users` had a failure, the last at a time.

    Times are seconds since 1970 UTC.
    """

    ended: int = 0
    failed: int = 0
    users: int = 0
    failed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class WellnessRules:
    """Unwell is who failed in `share` or more of at least `ended_min` cases, for `users_min` users.

    `rest_seconds` after the last failure it is tried again.
    """

    ended_min: int = 5
    users_min: int = 2
    share: float = 0.5
    rest_seconds: float = 30.0


WELLNESS_RULES = WellnessRules()


def is_well(record: Record, now: float, rules: WellnessRules = WELLNESS_RULES) -> bool:
    """Return whether work may be given to it; what one user's runs do is no word on others'."""
    if record.ended < rules.ended_min or record.users < rules.users_min:
        return True
    if record.failed < rules.share * record.ended:
        return True
    return now - record.failed_at >= rules.rest_seconds
