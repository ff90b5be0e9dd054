"""What repricing means: which move to a cheaper model is safe, untested, or must not be made."""

from dataclasses import dataclass
from enum import StrEnum

from tidings.models.rules.evidence import Evidence, Found, Row

QUALITY_LOSS_MAX = 0.02  # a loss of the mean score that is no reason to stay
QUALITY_SAMPLES_MIN = 30  # fewer scored requests on the target measure nothing


class Verdict(StrEnum):
    """What the quality scores say of a move: at worst a small loss, not sure, nothing, a loss."""

    SAFE = "safe"
    UNPROVEN = "unproven"
    UNMEASURED = "unmeasured"
    WORSE = "worse"


UNTESTED = (Verdict.UNPROVEN, Verdict.UNMEASURED)


@dataclass(frozen=True, slots=True)
class Move:
    """Requests of one `scope` (a feature, or None for all) from one model to a cheaper one."""

    found: Found
    scope: str | None
    from_model: str | None
    to_model: str
    verdict: Verdict

    @property
    def saving(self) -> float:
        return self.found.amount("saving_usd")

    @property
    def row(self) -> Row:
        return self.found.rows[0]


def moves(evidence: Evidence) -> tuple[Move, ...]:
    """Return the moves that would cost less, dearest saving first."""
    found = [_move(found) for found in evidence.all("reprice") if found.rows]
    return tuple(sorted((m for m in found if m.saving > 0), key=lambda m: -m.saving))


def chosen(candidates: tuple[Move, ...], verdict: Verdict) -> tuple[Move, ...]:
    """Return the best move of each scope and model with this verdict.

    What may move safely somewhere is not offered as untested; what may move safely or untested to
    one model can still be worse on another.
    """
    safe = {(m.scope, m.from_model) for m in candidates if m.verdict is Verdict.SAFE}
    best: dict[tuple[str | None, str | None], Move] = {}
    for move in candidates:
        place = (move.scope, move.from_model)
        if move.verdict is verdict and (verdict not in UNTESTED or place not in safe):
            best.setdefault(place, move)
    return tuple(best.values())


def _move(found: Found) -> Move:
    arguments = found.call.arguments
    where = arguments.get("where") or [{}]
    return Move(
        found,
        where[0].get("equals"),
        arguments.get("from_model"),
        str(arguments.get("to_model")),
        _verdict(found),
    )


def _verdict(found: Found) -> Verdict:
    if not (found.has("quality_current") and found.has("quality_target")):
        return Verdict.UNMEASURED
    if found.amount("quality_samples_target") < QUALITY_SAMPLES_MIN:
        return Verdict.UNMEASURED
    if not found.has("quality_loss_most"):
        return Verdict.UNMEASURED
    if found.amount("quality_loss_most") <= QUALITY_LOSS_MAX:
        return Verdict.SAFE
    return Verdict.WORSE if found.amount("quality_loss_least") > 0 else Verdict.UNPROVEN
