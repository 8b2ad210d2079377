"""Network addresses as text, `HOST:PORT`; an IPv6 host stands in brackets."""

import re

from ttsw.errors import InvalidArgumentError


def join_address(host: str, port: int) -> str:
    """Join host and port.

    >>> join_address("::1", 7002), join_address("localhost", 7002)
    ('[::1]:7002', 'localhost:7002')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether an address is reachable from this machine only.

    >>> [is_loopback(each) for each in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1")]
    [True, True, True, False, False, False]
    """
    return host in {"localhost", "::1"} or host.startswith("127.")


def split_address(text: str) -> tuple[str, int]:
    """Split `HOST:PORT`, with or without `grpc://` in front, into host and port.

    >>> split_address("grpc://127.0.0.1:7002"), split_address("[::1]:7002")
    (('127.0.0.1', 7002), ('::1', 7002))

    Raises:
        InvalidArgumentError: The host or the port is missing, or an IPv6 address has no brackets.
    """
    host, _, port = text.removeprefix("grpc://").rpartition(":")
    if not re.fullmatch(r"\[[0-9a-fA-F:.]+(%[\w.-]+)?\]|[^\s:/\[\]@]+", host) or not _is_port(port):
        raise InvalidArgumentError(
            f"{text!r} is not an address; write HOST:PORT, for example 127.0.0.1:7002 or [::1]:7002"
        )
    return host.strip("[]"), int(port)


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and int(text) <= 65_535
