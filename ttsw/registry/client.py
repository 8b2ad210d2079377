"""redis-py: from a registry's URL to a client, which connects when it is first used, and what its errors mean.

Schemes: `redis://`, `rediss://` (TLS), `unix://`, and `redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/SERVICE/DB`,
which asks Sentinels for the master; the login is that of Redis, not of the Sentinels. Decides that no call takes
longer than its socket may, and that none is tried twice: when to try again is the registrar's to say.
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
    (exceptions.ConnectionError, Condition.AWAY),
    (TimeoutError, Condition.SLOW),
    (OSError, Condition.AWAY),
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
"""What redis-py has no class of its own for, by the word that Redis's answer begins with."""

_LOST = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)


def make_client(url: str, timeout_s: float) -> Redis:
    """Make the client.

    Args:
        url: The registry.
        timeout_s: How long a connection, or an answer, may take, s.

    Raises:
        ConfigError: The URL can't be used.
    """
    bounds = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
    }
    try:
        if url.startswith("redis+sentinel://"):
            return _through_sentinels(url, bounds)
        pool = ConnectionPool.from_url(url, **bounds)
        pool.connection_kwargs |= {**bounds, "decode_responses": False}  # whatever the URL's options say
        pool.connection_class(**pool.connection_kwargs)  # an option that it doesn't know comes up here
    except (ValueError, TypeError) as error:
        said = f": {error}" if isinstance(error, TypeError) else ""  # a ValueError may quote the password
        raise ConfigError(f"redis.url {redact(url)} can't be used{said}") from None
    return Redis(connection_pool=pool)


def _through_sentinels(url: str, bounds: dict[str, Any]) -> Redis:
    match = _SENTINEL.fullmatch(url)
    if match is None:
        raise ConfigError(
            f"redis.url {redact(url)} can't be used: write redis+sentinel://HOST:PORT,HOST:PORT/SERVICE or …/SERVICE/DB"
        )
    hosts = [(host.strip("[]"), int(port or 26_379)) for host, port in map(_split, match["hosts"].split(","))]
    login = {
        name: unquote(value) for name, value in (("username", match["user"]), ("password", match["password"])) if value
    }
    sentinel = Sentinel(hosts, sentinel_kwargs=bounds, **bounds, **login)  # type: ignore[no-untyped-call]  # redis-py's own
    client: Redis = sentinel.master_for(match["service"], db=int(match["db"] or 0))  # type: ignore[no-untyped-call]
    return client


def _split(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and not port.endswith("]") else (host, "")


def explain(error: Exception, where: str) -> RegistryError:
    """Say what an error of redis-py means.

    Args:
        error: What it raised.
        where: The registry, as it may be shown.
    """
    cause: BaseException = error
    if isinstance(error, exceptions.WatchError) and isinstance(error.__context__, _LOST):
        cause = error.__context__  # redis-py says only that the key is no longer watched
    said = str(cause).rpartition(" of pipeline caused error: ")[2] or type(cause).__name__
    code = _CODES.get(said.partition(" ")[0])
    condition = code or next((it for kind, it in _KINDS if isinstance(cause, kind)), Condition.REFUSED)
    return RegistryError(condition, f"the registry {where} is {condition}: {said}")
