"""Connecting to a worker that somebody named; where none is, the error says what to do."""

import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from ttsw.errors import InvalidArgumentError, UnavailableError
from ttsw.fronts.abi.client import TTSClient, open_client
from ttsw.system.addresses import is_loopback, join_address, split_address

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
    """Split the address that `--addr` gives; see `split_address`.

    Raises:
        InvalidArgumentError: It isn't an address.
    """
    try:
        return split_address(text)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"--addr {error}") from None
