"""The protocol between the worker and an engine process.

A frame is two lengths (uint32, little-endian: head, body), the head (a message as MessagePack), and the body: the raw
float32 samples of a `Chunk`, otherwise empty. Nothing is ever unpickled.
"""

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ttsw import errors
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.hosts.base import ModelDescription
from ttsw.errors import InternalError, TtswError
from ttsw.options import OptionValue
from ttsw.types import VoicePack

LENGTHS = struct.Struct("<II")
LONGEST = 1 << 28
"""Longest head or body, bytes; a frame that claims more is invalid."""

WINDOW = 2
"""Chunks of an utterance in transit or waiting to be taken; the engine pauses beyond that."""


class ProtocolMessage(msgspec.Struct, frozen=True, tag=True):
    """Base of all messages. `id` is the number of the order, assigned by the worker."""


class Load(ProtocolMessage, frozen=True):
    """Worker: load this model with this adapter (`module:Class`). Always the first message."""

    adapter: str
    pack: VoicePack
    settings: EngineSettings


class Prepare(ProtocolMessage, frozen=True):
    """Worker: prepare a voice (0: the model itself) for these options. Answered by SpeakDone or RequestFailed."""

    id: int
    options: Mapping[str, OptionValue]
    voice: int = 0


class Speak(ProtocolMessage, frozen=True):
    """Worker: speak with a voice (0: the model itself). Answered by Chunks, then SpeakDone or RequestFailed."""

    id: int
    text: str
    options: Mapping[str, OptionValue]
    voice: int = 0


class Attach(ProtocolMessage, frozen=True):
    """Worker: load a voice based on the model, with this id as its number. Answered by Attached or RequestFailed."""

    id: int
    pack: VoicePack


class Detach(ProtocolMessage, frozen=True):
    """Worker: unload a voice, if it exists. Answered by SpeakDone or RequestFailed."""

    id: int
    voice: int


class ChunkTaken(ProtocolMessage, frozen=True):
    """Worker: a chunk was taken; another may be sent."""

    id: int


class Cancel(ProtocolMessage, frozen=True):
    """Worker: cancel this order. Answered by SpeakDone, once the engine has left it."""

    id: int


class Ping(ProtocolMessage, frozen=True):
    """Worker: respond with Pong."""


class Close(ProtocolMessage, frozen=True):
    """Worker: unload the model and exit."""


class Loaded(ProtocolMessage, frozen=True):
    """Engine: the model is loaded."""

    model: ModelDescription


class Attached(ProtocolMessage, frozen=True):
    """Engine: the voice is loaded."""

    id: int
    model: ModelDescription


class Chunk(ProtocolMessage, frozen=True):
    """Engine: audio, in the body; `seconds` is the duration of the step."""

    id: int
    seconds: float


class SpeakDone(ProtocolMessage, frozen=True):
    """Engine: the order is complete."""

    id: int


class RequestFailed(ProtocolMessage, frozen=True):
    """Engine: the order failed (0: the load). `error` is the name of a class in `ttsw.errors`."""

    id: int
    error: str
    text: str


class MemoryReport(msgspec.Struct, frozen=True):
    """Memory of an engine process, bytes.

    Args:
        resident: Main memory.
        allocated: GPU memory of tensors, as torch counts it.
        reserved: GPU memory that torch has reserved from the driver.
    """

    resident: int
    allocated: int = 0
    reserved: int = 0


class Pong(ProtocolMessage, frozen=True):
    """Engine: response to Ping. `step_s` is the duration so far of the longest running step, seconds."""

    memory: MemoryReport
    step_s: float


Order = Load | Prepare | Speak | Attach | Detach | ChunkTaken | Cancel | Ping | Close
Answer = Loaded | Attached | Chunk | SpeakDone | RequestFailed | Pong


def _decode(kind: type, value: str) -> Path:
    assert kind is Path, f"there is no {kind.__name__} in any message"
    return Path(value)


_encoder = msgspec.msgpack.Encoder(enc_hook=str)  # for paths, and for values in an adapter's `model_info`
_orders = msgspec.msgpack.Decoder(Order, dec_hook=_decode)
_answers = msgspec.msgpack.Decoder(Answer, dec_hook=_decode)


def frame(message: ProtocolMessage, body: bytes = b"") -> bytes:
    """Encode a message and its body as a frame."""
    head = _encoder.encode(message)
    return b"".join((LENGTHS.pack(len(head), len(body)), head, body))


def read_order(head: bytes) -> Order:
    """Decode a message from the worker.

    Raises:
        InternalError: It isn't a message of this protocol.
    """
    with _understanding():
        order: Order = _orders.decode(head)
    return order


def read_answer(head: bytes) -> Answer:
    """Decode a message from the engine.

    Raises:
        InternalError: It isn't a message of this protocol.
    """
    with _understanding():
        answer: Answer = _answers.decode(head)
    return answer


@contextmanager
def _understanding() -> Iterator[None]:
    try:
        yield
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InternalError(f"not a message between worker and engine: {error}") from error


class Frames:
    """Incremental frame decoder."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __repr__(self) -> str:
        return f"<Frames, {len(self._buffer)} bytes waiting>"

    def feed(self, data: bytes | bytearray) -> Iterator[tuple[bytes, bytes]]:
        """Feed bytes; yield head and body of each completed frame.

        Raises:
            InternalError: The bytes aren't frames.
        """
        self._buffer += data
        while len(self._buffer) >= LENGTHS.size:
            head, body = LENGTHS.unpack_from(self._buffer)
            if max(head, body) > LONGEST:
                raise InternalError(f"not a frame between worker and engine: it claims {head} and {body} bytes")
            start, middle, end = LENGTHS.size, LENGTHS.size + head, LENGTHS.size + head + body
            if len(self._buffer) < end:
                return
            with memoryview(self._buffer) as view:
                found = bytes(view[start:middle]), bytes(view[middle:end])
            del self._buffer[:end]
            yield found


def to_failed(id: int, error: TtswError) -> RequestFailed:  # noqa: A002
    """Return the message for an error."""
    return RequestFailed(id, type(error).__name__, str(error))


def from_failed(failed: RequestFailed) -> TtswError:
    """Return the error of a message."""
    kind = getattr(errors, failed.error, None)
    if isinstance(kind, type) and issubclass(kind, TtswError):
        return kind(failed.text)
    return InternalError(failed.text)
