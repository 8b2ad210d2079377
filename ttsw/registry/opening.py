"""Opening a registry. redis-py takes 0.1 s to import, so that is left until there is a registry to ask."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ttsw.registry.connection import RegistryConnection

TIMEOUT_S = 1.0
"""How long Redis may take to be connected to, and to answer, s."""


@asynccontextmanager
async def open_connection(url: str, timeout_s: float = TIMEOUT_S) -> AsyncGenerator["RegistryConnection", None]:
    """Have a registry for a block; it is connected to when it is first asked.

    Args:
        url: Where it is.
        timeout_s: How long a connection, or an answer, may take, s.

    Raises:
        ConfigError: The URL can't be used.
    """
    from ttsw.registry.connection import RegistryConnection  # noqa: PLC0415 - as said above

    connection = RegistryConnection(url, timeout_s)
    try:
        yield connection
    finally:
        connection.close()
