"""Connecting to a worker that somebody named; where none is, the error says what to do."""

import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from ttsw.errors import InvalidArgumentError, UnavailableError
from ttsw.fronts.abi.client import TTSClient, open_client
from ttsw.system.addresses import is_loopback, join_address

HERE = "127.0.0.1:7002"
"""Where a worker is, if nobody says otherwise."""


@asynccontextmanager
async def open_worker(address: tuple[str, int], otherwise: str = "") -> AsyncGenerator[TTSClient, None]:
    """Connect to a worker.

    Args:
        address: Its host and port.
        otherwise: What else somebody may do where it isn't there.

    Raises:
        UnavailableError: There is none at this address.
    """
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(open_client(*address))
        except UnavailableError as error:
            raise UnavailableError(_nobody(address, str(error), otherwise)) from error
        yield client


def _nobody(address: tuple[str, int], fault: str, otherwise: str) -> str:
    where, there = join_address(*address), "" if is_loopback(address[0]) else " there"
    why = re.sub(r"^can't connect to \S+: |\[Errno -?\d+\] |Error connecting to \(.*?\): ", "", fault)
    more = f", or {otherwise}" if otherwise else ""
    return f"no worker at {where} ({why}); start one{there} with `ttsw serve`, or name another with --addr{more}"


def parse_address(text: str) -> tuple[str, int]:
    """Split `HOST:PORT`, with or without `grpc://` before it.

    >>> parse_address("grpc://127.0.0.1:7002"), parse_address("[::1]:7002")
    (('127.0.0.1', 7002), ('::1', 7002))

    Raises:
        InvalidArgumentError: It has no port, or no host, or an IPv6 address without brackets.
    """
    host, _, port = text.removeprefix("grpc://").rpartition(":")
    if not re.fullmatch(r"\[[0-9a-fA-F:.]+(%[\w.-]+)?\]|[^\s:/\[\]@]+", host) or not _is_port(port):
        raise InvalidArgumentError(
            f"--addr {text!r} is no address; write HOST:PORT, for example 127.0.0.1:7002 or [::1]:7002"
        )
    return host.strip("[]"), int(port)


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and int(text) <= 65_535
