"""Open a registry connection. redis-py takes 0.1 s to import, and is imported only here, when needed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ttsw.registry.connection import RegistryConnection

TIMEOUT_S = 1.0
"""Timeout of connecting to Redis, and of each reply, seconds."""


@asynccontextmanager
async def open_connection(url: str, timeout_s: float = TIMEOUT_S) -> AsyncGenerator["RegistryConnection", None]:
    """Open a registry, connecting on first use. Leaving the block closes it.

    Args:
        url: URL of the registry.
        timeout_s: Timeout of connecting, and of each reply, seconds.

    Raises:
        ConfigError: The URL is invalid.
    """
    from ttsw.registry.connection import RegistryConnection  # noqa: PLC0415 - see the module's docstring

    connection = RegistryConnection(url, timeout_s)
    try:
        yield connection
    finally:
        connection.close()
