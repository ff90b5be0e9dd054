"""Connections to providers: pydantic-ai's models over the one HTTP client that bounds replies."""

import re
from typing import Any

import httpx2
from google.auth.exceptions import GoogleAuthError
from pydantic_ai import exceptions as faults
from pydantic_ai.models import Model as AiModel
from pydantic_ai.models import infer_model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers import Provider, infer_provider, infer_provider_class
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tidings.domain.errors import InvalidInput
from tidings.models.pydantic_ai import ConnectedModel
from tidings.models.wire import client

_OVER_HTTPX2 = frozenset(
    {
        "alibaba", "anthropic", "azure", "cerebras", "crusoe", "deepseek", "fireworks",
        "github-copilot", "google", "google-cloud", "heroku", "litellm", "meta", "mistral",
        "moonshotai", "nebius", "ollama", "openai", "openai-chat", "openai-responses",
        "openrouter", "ovhcloud", "sambanova", "snowflake", "together", "vercel", "vllm", "zai",
    }
)  # fmt: skip
"""Providers that take our client; with others the bytes of a reply are bounded by their library."""

_VARIABLE = re.compile(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)`")
_PACKAGE = re.compile(r"install (?:the )?`([\w-]+)` package")


def connect(
    name: str,
    provider: str,
    model: str,
    base_url: str | None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> ConnectedModel:
    """Return a provider's model; nothing is sent yet. `transport` stands in for the network.

    Raises:
        InvalidInput: `model_not_configured`: no such provider or model, its key or package missing.
    """
    http = client(transport)
    try:
        connected = _connected(provider, model, base_url, http)
    except (faults.UserError, GoogleAuthError, ValueError, ImportError) as error:
        told = f"{provider}:{model} cannot be used: {_missing(error)}."
        raise InvalidInput("model_not_configured", told) from error
    return ConnectedModel(name, connected, http, priced=base_url is None)


def _missing(error: Exception) -> str:
    """Return what is missing for a model, from what its library said."""
    if package := _PACKAGE.search(str(error)):
        return f"install the package {package[1]}"
    if variables := list(dict.fromkeys(_VARIABLE.findall(str(error)))):
        return f"set {' or '.join(variables)}"
    if isinstance(error, GoogleAuthError):
        return "give Google's credentials, by GOOGLE_APPLICATION_CREDENTIALS"
    return "check its name, and that its provider is set up"


def _connected(
    provider: str, model: str, base_url: str | None, http: httpx2.AsyncClient
) -> AiModel:
    if base_url is None:
        return infer_model(f"{provider}:{model}", lambda kind: _provider(kind, http))
    if provider == "anthropic":
        # A server of one's own may need no key; the library insists on some.
        anthropic = AnthropicProvider(base_url=base_url, http_client=http)
        return AnthropicModel(model, provider=anthropic)
    return OpenAIChatModel(model, provider=OpenAIProvider(base_url=base_url, http_client=http))


def _provider(kind: str, http: httpx2.AsyncClient) -> Provider[Any]:
    if kind not in _OVER_HTTPX2:
        return infer_provider(kind)
    over: Any = infer_provider_class(kind)
    provider: Provider[Any] = over(http_client=http)
    return provider
