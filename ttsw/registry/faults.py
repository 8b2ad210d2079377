"""What the registry's refusals are told as. No text holds a password."""

import re

from ttsw.errors import UnavailableError
from ttsw.registry.heartbeat import Condition


class RegistryError(UnavailableError):
    """Redis can't be asked, or refuses; the text says why.

    Args:
        condition: Which fault it is.
        text: The same for a person.
    """

    def __init__(self, condition: Condition, text: str) -> None:
        super().__init__(text)
        self.condition = condition


def redact(url: str) -> str:
    """A registry's URL as it may be shown: without user, password and options.

    >>> redact("rediss://alto:p@ss/w?rd@redis.example:6380/1?ssl_ca_certs=ca.pem")
    'rediss://redis.example:6380/1'
    """
    return re.sub(r"//.*@", "//", url, flags=re.DOTALL).partition("?")[0]
