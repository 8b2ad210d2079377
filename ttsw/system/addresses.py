"""Network addresses as text: a colon parts host and port, so that an IPv6 address stands in brackets."""


def join_address(host: str, port: int) -> str:
    """Write an address.

    >>> join_address("::1", 7002), join_address("localhost", 7002)
    ('[::1]:7002', 'localhost:7002')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> [is_loopback(each) for each in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1")]
    [True, True, True, False, False, False]
    """
    return host in {"localhost", "::1"} or host.startswith("127.")
