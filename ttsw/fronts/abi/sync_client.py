"""A blocking client for scripts and notebooks: the trio client, run in a thread of its own."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np
import trio
from anyio.from_thread import BlockingPortal, start_blocking_portal
from numpy.typing import NDArray

from ttsw.fronts.abi.client import Speech, open_client
from ttsw.fronts.abi.generated.tts import LoadModelResponse, ModelInfo
from ttsw.system.addresses import split_address

Text = str | Iterable[str]


class Client:
    """A connection to a worker, for programs without an event loop.

    Use it in a `with` block, or call `close`. Several threads may share it. Each text is spoken in a session of its
    own, with `pacing=fast` unless the options say otherwise.

    Args:
        address: Address of the worker, `HOST:PORT`.

    Raises:
        InvalidArgumentError: The address has no port.
        UnavailableError: No worker answers at this address.
    """

    def __init__(self, address: str = "127.0.0.1:7002") -> None:
        host, port = split_address(address)
        with ExitStack() as stack:
            self._portal: BlockingPortal = stack.enter_context(start_blocking_portal("trio"))
            self._client = stack.enter_context(self._portal.wrap_async_context_manager(open_client(host, port)))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, which ends its speech; a second call does nothing."""
        self._stack.close()

    def synthesize(self, text: Text, model_id: str = "", options: Mapping[str, str] | None = None) -> NDArray[np.int16]:
        """Return the audio of a text.

        Args:
            text: The text, whole or in pieces.
            model_id: The model; empty means the worker's default.
            options: Session options by name.

        Returns:
            Samples of shape (n,), mono, 48 kHz.

        Raises:
            TtswError: The worker refused the session, or the speech failed; the message says why.
        """
        return np.concatenate([np.empty(0, np.int16), *self.stream(text, model_id, options)])

    def stream(
        self, text: Text, model_id: str = "", options: Mapping[str, str] | None = None
    ) -> Iterator[NDArray[np.int16]]:
        """Yield the audio of a text, frame by frame, as it arrives. Closing the iterator stops the speech.

        Args:
            text: The text, whole or in pieces; pieces are taken from the iterable in another thread.
            model_id: The model; empty means the worker's default.
            options: Session options by name.

        Yields:
            Frames of shape (960,): 20 ms, mono, 48 kHz.

        Raises:
            TtswError: The worker refused the session, or the speech failed; the message says why.
        """
        given = {"pacing": "fast"} | dict(options or {})
        words = text if isinstance(text, str) else _iterate(text)
        speech = self._portal.wrap_async_context_manager(self._client.speak(words, model_id, given))
        frames = speech.__enter__()
        try:
            while pcm := self._portal.call(_receive, frames):
                yield np.frombuffer(pcm, "<i2")
        finally:  # without the exception: a GeneratorExit or KeyboardInterrupt would end the portal
            speech.__exit__(None, None, None)

    def list_models(self) -> list[ModelInfo]:
        """Return the worker's models."""
        return self._portal.call(self._client.list_models)

    def load_model(self, model_id: str) -> LoadModelResponse:
        """Load a model into the worker's memory.

        Raises:
            NotFoundError: The worker has no such model.
            ResourceExhaustedError: The device has too little free memory.
        """
        return self._portal.call(self._client.load_model, model_id)

    def unload_model(self, model_id: str) -> None:
        """Unload a model.

        Raises:
            FailedPreconditionError: The model is in use.
        """
        self._portal.call(self._client.unload_model, model_id)


async def _receive(frames: Speech) -> bytes:
    return await anext(frames, b"")


async def _iterate(pieces: Iterable[str]) -> AsyncIterator[str]:
    """Take pieces in a thread, since the iterable may block."""
    iterator, end = iter(pieces), object()
    while (piece := await trio.to_thread.run_sync(next, iterator, end, abandon_on_cancel=True)) is not end:
        yield str(piece)
