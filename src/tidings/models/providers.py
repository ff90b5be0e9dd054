"""Language models of providers, by a string such as `openai:gpt-4o`."""

from tidings.domain.errors import InvalidInput
from tidings.models.port import Model

PROVIDER_RETRIES = 2

_RENAMED = {"google-gla": "google", "google-vertex": "google-cloud"}


def provider_model(
    name: str, *, base_url: str | None = None, retries: int = PROVIDER_RETRIES
) -> Model:
    """Return the model that `name`, `provider:model`, stands for.

    With `base_url` it is any server that speaks OpenAI's chat completions. Keys are read by
    pydantic-ai from the provider's usual variables, such as OPENAI_API_KEY.

    Raises:
        InvalidInput: `model_unknown` or `model_not_configured`, with what is wrong.
    """
    provider, _, model = name.partition(":")
    if not provider or not model:
        raise InvalidInput("model_unknown", f"A model is named provider:model, not {name!r}.")
    # Only those who configured a model should wait for this.
    from tidings.models.pydantic_ai import (  # noqa: PLC0415 - a second to import
        PydanticModel,
        connect,
    )

    connected = connect(_RENAMED.get(provider, provider), model, base_url)
    return PydanticModel(name, connected, retries=retries, priced=base_url is None)
