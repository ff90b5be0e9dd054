"""What commands of a data directory begin with: its settings, and the store, opened."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from tidings.app import App, build
from tidings.settings import Settings, load
from tidings.storage.marks import make_folder

T = TypeVar("T")

DEFAULTS = Settings()

DataDir = Annotated[
    Path | None, typer.Option(help=f"Where everything is kept; `{DEFAULTS.data_dir}`.")
]


def settings_of(data_dir: Path | None) -> Settings:
    """Return the settings, with the data directory made."""
    settings = load({"data_dir": data_dir})
    make_folder(settings.data_dir, 0o700)
    return settings


def with_app(settings: Settings, use: Callable[[App], Awaitable[T]]) -> T:
    """Open the store without serving, use it, and close it."""

    async def whole() -> T:
        app = build(settings)
        try:
            return await use(app)
        finally:
            await app.close()

    return asyncio.run(whole())
