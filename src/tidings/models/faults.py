"""What goes wrong with a provider, by name; whose fault it is, and whether it may pass."""

from enum import StrEnum

from tidings.domain.errors import Failure
from tidings.models.port import NOTHING_USED, Usage


class Blame(StrEnum):
    """Whose fault it is: only the provider's counts against it."""

    PROVIDER = "provider"
    REQUEST = "request"
    NOBODY = "nobody"


class ModelFault(Failure):
    """A request to a model that failed; its message repeats nothing that the provider said.

    `passing` says whether the same request may succeed later, `usage` what was taken all the same,
    `shown` the text that a user may have seen of the reply. `wrong` and `wrote` are for the model
    alone, when it is asked again: what does not fit in what it had written.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        passing: bool = False,
        blame: Blame = Blame.PROVIDER,
        retry_after_seconds: float | None = None,
        usage: Usage = NOTHING_USED,
    ) -> None:
        super().__init__(code, message, retry_after_seconds=retry_after_seconds)
        self.passing = passing
        self.blame = blame
        self.usage = usage
        self.shown = ""
        self.wrong = ""
        self.wrote = ""
        self.retryable = passing


UNFIT_CHARACTERS_MAX = 4_000
"""So much of a reply that does not fit is shown to the model that is to mend it."""
REJECTED = "model_rejected"
AUTH_FAILED = "model_auth_failed"
QUOTA_EXHAUSTED = "model_quota_exhausted"
FOR_THE_OPERATOR = frozenset({AUTH_FAILED, QUOTA_EXHAUSTED, REJECTED})
"""Codes of what does not pass by itself: their messages say what to look at, and nothing else."""


class TimeLimit(StrEnum):
    """Which time limit of a request was reached."""

    CONNECT = "connect"
    FIRST_BYTE = "first_byte"
    STALLED = "stalled"
    TOTAL = "total"


_SLOW = {
    TimeLimit.CONNECT: "could not be connected to",
    TimeLimit.FIRST_BYTE: "did not begin to answer",
    TimeLimit.STALLED: "stopped in the middle of its reply",
    TimeLimit.TOTAL: "did not finish its reply",
}


def rate_limited(model: str, retry_after_seconds: float | None) -> ModelFault:
    """Return the fault of a provider that is asked too often."""
    return ModelFault(
        "model_rate_limited",
        f"{model} gets too many requests.",
        passing=True,
        retry_after_seconds=retry_after_seconds,
    )


def quota_exhausted(model: str) -> ModelFault:
    """Return the fault of an account that may spend no more: waiting does not help."""
    return ModelFault(QUOTA_EXHAUSTED, f"The quota or credit for {model} is used up.")


def overloaded(model: str, retry_after_seconds: float | None) -> ModelFault:
    """Return the fault of a provider that says it has too much to do."""
    return ModelFault(
        "model_overloaded",
        f"{model} is overloaded.",
        passing=True,
        retry_after_seconds=retry_after_seconds,
    )


def unavailable(model: str, retry_after_seconds: float | None = None) -> ModelFault:
    """Return the fault of a provider that cannot be reached or fails."""
    return ModelFault(
        "model_unavailable",
        f"{model} does not answer now.",
        passing=True,
        retry_after_seconds=retry_after_seconds,
    )


def broke_off(model: str) -> ModelFault:
    """Return the fault of a reply without an end."""
    message = f"{model} broke off in the middle of its reply."
    return ModelFault("model_unavailable", message, passing=True)


def timed_out(
    model: str, limit: TimeLimit, seconds: float, blame: Blame = Blame.PROVIDER
) -> ModelFault:
    """Return the fault of a model that is too slow; its message says which limit was reached."""
    return ModelFault(
        "model_timeout",
        f"{model} {_SLOW[limit]} within {seconds:.3g} s ({limit}).",
        passing=limit is not TimeLimit.TOTAL,
        blame=blame,
        usage=Usage(cost_usd=0.0 if limit is TimeLimit.CONNECT else None),
    )


def bad_reply(model: str, what: str = "sent something that is not a reply") -> ModelFault:
    """Return the fault of a reply that cannot be read, or is beyond a bound."""
    return ModelFault("model_bad_reply", f"{model} {what}.", passing=True)


def unfit(model: str, why: str, wrote: str) -> ModelFault:
    """Return the fault of a model that does not give the structure that was asked for."""
    fault = ModelFault(
        "model_output_unfit",
        f"{model} did not answer in the form that was asked for. {why}",
        passing=True,
        blame=Blame.REQUEST,
    )
    fault.wrong, fault.wrote = why, wrote[:UNFIT_CHARACTERS_MAX]
    return fault


def refused(model: str) -> ModelFault:
    """Return the fault of a request that the provider's content filter stopped."""
    return ModelFault("model_refused", f"{model} refused to answer this.", blame=Blame.REQUEST)


def rejected(model: str) -> ModelFault:
    """Return the fault of a request that the provider does not understand."""
    return ModelFault(
        REJECTED,
        f"{model} rejected the request; check the model's name.",
        blame=Blame.REQUEST,
    )


def unable(model: str) -> ModelFault:
    """Return the fault of a request for something that the model cannot do, by its library."""
    return ModelFault(
        REJECTED,
        f"{model} cannot do what it was asked for, such as tools or structured output.",
        blame=Blame.REQUEST,
    )


def context_too_long(model: str) -> ModelFault:
    """Return the fault of a conversation that does not fit."""
    return ModelFault(
        "model_context_too_long",
        f"The conversation is too long for {model}; begin a new thread or ask for less.",
        blame=Blame.REQUEST,
    )


def auth_failed(model: str) -> ModelFault:
    """Return the fault of a key that the provider does not take."""
    return ModelFault(AUTH_FAILED, f"{model} did not accept the key; check it.")


def resting(model: str, seconds: float) -> ModelFault:
    """Return the refusal to ask a model that failed too often; it is asked again after a while."""
    return ModelFault(
        "model_resting",
        f"{model} failed too often; it is asked again in {max(1.0, seconds):.0f} s.",
        blame=Blame.NOBODY,
        retry_after_seconds=seconds,
    )


def busy(model: str) -> ModelFault:
    """Return the refusal of a request for which this server has no room."""
    return ModelFault(
        "model_busy",
        f"Too many requests to {model} are under way; try again in a moment.",
        blame=Blame.NOBODY,
        retry_after_seconds=1.0,
    )
