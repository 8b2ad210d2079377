"""Registry errors, whose messages never contain a password."""

import re

from ttsw.errors import UnavailableError
from ttsw.registry.heartbeat import Condition


class RegistryError(UnavailableError):
    """Redis is unreachable or refuses an operation.

    Args:
        condition: Kind of the error.
        text: Error message.
    """

    def __init__(self, condition: Condition, text: str) -> None:
        super().__init__(text)
        self.condition = condition


def redact(url: str) -> str:
    """Return a registry's URL without user, password and options, for display.

    >>> redact("rediss://alto:p@ss/w?rd@redis.example:6380/1?ssl_ca_certs=ca.pem")
    'rediss://redis.example:6380/1'
    """
    return re.sub(r"//.*@", "//", url, flags=re.DOTALL).partition("?")[0]
