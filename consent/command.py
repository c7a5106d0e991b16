"""What every command of `consent` does alike: settings, a database for one use case, errors as one line."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import click
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.errors import ConsentError
from consent.settings import Settings, SettingsError

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a use case; what goes wrong is one line on stderr and exit 1, never a stack trace."""
    try:
        return asyncio.run(work)
    except ConsentError as error:
        raise click.ClickException(f"{error.en} {error.zh}") from None


def read_settings() -> Settings:
    """The settings, or one line that names what is missing."""
    try:
        return Settings.from_environment()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def with_database(settings: Settings, use_case: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    """Run a use case on the database of the settings."""
    from consent.db import create_engine  # noqa: PLC0415 - not for --help

    async def work() -> T:
        engine = create_engine(settings.database_url)
        try:
            return await use_case(engine)
        finally:
            await engine.dispose()

    return run(work())
