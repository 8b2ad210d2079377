"""Create redis-py clients from a registry's URL, and classify redis-py's errors.

Schemes: `redis://`, `rediss://` (TLS), `unix://`, and `redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/SERVICE/DB`,
which queries Sentinels for the master; user and password apply to Redis, not to the Sentinels. A client connects on
first use. Every call is limited by its socket timeout and is never retried here; the registrar retries.
"""

import re
from typing import Any
from urllib.parse import unquote

from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry
from redis.sentinel import Sentinel

from ttsw.errors import ConfigError
from ttsw.registry.faults import RegistryError, redact
from ttsw.registry.heartbeat import Condition

_SENTINEL = re.compile(
    r"redis\+sentinel://((?P<user>[^:@]*):(?P<password>[^@]*)@)?(?P<hosts>[^/@]+)/(?P<service>[^/?]+)(/(?P<db>\d+))?"
)

_KINDS: tuple[tuple[type[Exception], Condition], ...] = (
    (exceptions.AuthenticationError, Condition.LOGIN),
    (exceptions.AuthorizationError, Condition.LOGIN),
    (exceptions.NoPermissionError, Condition.FORBIDDEN),
    (exceptions.ReadOnlyError, Condition.READ_ONLY),
    (exceptions.BusyLoadingError, Condition.BUSY),
    (exceptions.OutOfMemoryError, Condition.FULL),
    (exceptions.TimeoutError, Condition.SLOW),
    (exceptions.ConnectionError, Condition.UNREACHABLE),
    (TimeoutError, Condition.SLOW),
    (OSError, Condition.UNREACHABLE),
)

_CODES = {
    "NOAUTH": Condition.LOGIN,
    "WRONGPASS": Condition.LOGIN,
    "NOPERM": Condition.FORBIDDEN,
    "READONLY": Condition.READ_ONLY,
    "NOREPLICAS": Condition.READ_ONLY,
    "MISCONF": Condition.READ_ONLY,
    "MASTERDOWN": Condition.READ_ONLY,
    "BUSY": Condition.BUSY,
}
"""Conditions of errors without a redis-py class, by the first word of Redis's reply."""

_LOST = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)


def make_client(url: str, timeout_s: float) -> Redis:
    """Create a client.

    Args:
        url: URL of the registry.
        timeout_s: Timeout of connecting, and of each reply, seconds.

    Raises:
        ConfigError: The URL is invalid.
    """
    limits = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
    }
    try:
        if url.startswith("redis+sentinel://"):
            return _sentinel_client(url, limits)
        pool = ConnectionPool.from_url(url, **limits)
        pool.connection_kwargs |= {**limits, "decode_responses": False}  # overrides options in the URL
        pool.connection_class(**pool.connection_kwargs)  # raises TypeError for an unknown option
    except (ValueError, TypeError) as error:
        detail = f": {error}" if isinstance(error, TypeError) else ""  # a ValueError may contain the password
        raise ConfigError(f"redis.url {redact(url)} is invalid{detail}") from None
    return Redis(connection_pool=pool)


def _sentinel_client(url: str, limits: dict[str, Any]) -> Redis:
    match = _SENTINEL.fullmatch(url)
    if match is None:
        raise ConfigError(
            f"redis.url {redact(url)} is invalid: write redis+sentinel://HOST:PORT,HOST:PORT/SERVICE or …/SERVICE/DB"
        )
    hosts = [(host.strip("[]"), int(port or 26_379)) for host, port in map(_split, match["hosts"].split(","))]
    login = {
        name: unquote(value) for name, value in (("username", match["user"]), ("password", match["password"])) if value
    }
    sentinel = Sentinel(hosts, sentinel_kwargs=limits, **limits, **login)  # type: ignore[no-untyped-call]  # redis-py's own
    client: Redis = sentinel.master_for(match["service"], db=int(match["db"] or 0))  # type: ignore[no-untyped-call]
    return client


def _split(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and not port.endswith("]") else (host, "")


def to_registry_error(error: Exception, display_url: str) -> RegistryError:
    """Convert an error of redis-py to a RegistryError.

    Args:
        error: The exception raised by redis-py.
        display_url: URL of the registry without its password.
    """
    cause: BaseException = error
    if isinstance(error, exceptions.WatchError) and isinstance(error.__context__, _LOST):
        cause = error.__context__  # redis-py raises WatchError for a lost connection, with the cause as context
    detail = str(cause).rpartition(" of pipeline caused error: ")[2] or type(cause).__name__
    code = _CODES.get(detail.partition(" ")[0])
    condition = code or next((it for kind, it in _KINDS if isinstance(cause, kind)), Condition.REFUSED)
    return RegistryError(condition, f"the registry {display_url} is {condition}: {detail}")
