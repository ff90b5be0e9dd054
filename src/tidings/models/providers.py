"""Language models by the settings' string: one model, or a chain of them."""

from typing import NamedTuple

from tidings.domain.errors import InvalidInput
from tidings.models.planner import Planner
from tidings.models.port import Model

PLANNER_WORD = "planner"
MODELS_MAX = 8

_RENAMED = {"google-gla": "google", "google-vertex": "google-cloud"}


class Named(NamedTuple):
    """A model of a chain: its provider, its name there, and the address of its server, if given."""

    provider: str
    model: str
    base_url: str | None

    @property
    def name(self) -> str:
        """`provider:model`."""
        return f"{self.provider}:{self.model}"


def parse_chain(text: str) -> tuple[Named | None, ...]:
    """Return the models that a string names, in the order in which they are asked.

    `provider:model`, or `provider:model@https://server/v1`, separated by commas; None stands for
    `planner`, which may only be the last.

    Raises:
        InvalidInput: `model_unknown`: a part is no name of a model, or too many are named.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MODELS_MAX:
        raise InvalidInput("model_unknown", f"A chain has at most {MODELS_MAX} models.")
    named = tuple(None if part == PLANNER_WORD else _parsed(part) for part in parts)
    if None in named[:-1]:
        raise InvalidInput("model_unknown", f"`{PLANNER_WORD}` can only be the last of a chain.")
    if len(set(named)) < len(named):
        raise InvalidInput("model_unknown", "A chain names each model once.")
    return named


def named_models(text: str, base_url: str | None = None) -> tuple[Model, ...]:
    """Return the models that a string names; `base_url` is the server of the first.

    Keys are read by pydantic-ai from the provider's usual variables, such as OPENAI_API_KEY.

    Raises:
        InvalidInput: `model_unknown` or `model_not_configured`, with what is wrong.
    """
    models: list[Model] = []
    for named in parse_chain(text):
        if named is None:
            models.append(Planner())
            continue
        address = named.base_url or (base_url if not models else None)
        models.append(provider_model(named._replace(base_url=address)))
    return tuple(models)


def provider_model(named: Named) -> Model:
    """Return the model of a provider; nothing is sent yet.

    With an address it is a server that speaks the provider's protocol: Anthropic's messages for
    `anthropic`, OpenAI's chat completions for all others.

    Raises:
        InvalidInput: `model_not_configured`, with what is wrong.
    """
    # Only those who configured a model should wait for this.
    from tidings.models.connect import connect  # noqa: PLC0415 - a second to import

    provider = _RENAMED.get(named.provider, named.provider)
    return connect(named.name, provider, named.model, named.base_url)


def _parsed(part: str) -> Named:
    name, _, address = part.partition("@http")
    provider, _, model = name.partition(":")
    if not provider or not model:
        raise InvalidInput("model_unknown", f"A model is named provider:model, not {name!r}.")
    return Named(provider, model, f"http{address}" if address else None)
