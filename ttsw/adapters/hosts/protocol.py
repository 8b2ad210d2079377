"""What a worker and an engine's process say to each other, and how it is put on their socket.

A frame is two lengths (uint32, little-endian: head, body), the head (a message as MessagePack), and the body: the raw
float32 samples of a `Chunk`, nothing otherwise. Nothing here is ever unpickled.
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
"""Bytes of a head or a body; what claims to be longer is no frame."""

WINDOW = 2
"""Chunks of an utterance that may be on their way, or wait to be taken; the engine makes no further one."""


class ProtocolMessage(msgspec.Struct, frozen=True, tag=True):
    """Anything said. `id` names what it is about: a number that the worker gave."""


class Load(ProtocolMessage, frozen=True):
    """Worker: load this model with this adapter (`module:Class`). It comes first."""

    adapter: str
    pack: VoicePack
    settings: EngineSettings


class Prepare(ProtocolMessage, frozen=True):
    """Worker: get ready for these options, in this voice: 0 is the model itself. Answered by Done or Failed."""

    id: int
    options: Mapping[str, OptionValue]
    voice: int = 0


class Speak(ProtocolMessage, frozen=True):
    """Worker: say this, in this voice: 0 is the model itself. Answered by Chunks, then Done or Failed."""

    id: int
    text: str
    options: Mapping[str, OptionValue]
    voice: int = 0


class Attach(ProtocolMessage, frozen=True):
    """Worker: load a voice that is based on the model, known by this id from then on. Answered by Derived or Failed."""

    id: int
    pack: VoicePack


class Detach(ProtocolMessage, frozen=True):
    """Worker: unload that voice; one that isn't there is no fault. Answered by Done or Failed."""

    id: int
    voice: int


class ChunkTaken(ProtocolMessage, frozen=True):
    """Worker: a chunk was taken; one more may be sent."""

    id: int


class Cancel(ProtocolMessage, frozen=True):
    """Worker: nobody wants this any more. Answered by Done, once the engine has left it."""

    id: int


class Ping(ProtocolMessage, frozen=True):
    """Worker: are you there?"""


class Close(ProtocolMessage, frozen=True):
    """Worker: unload, and end."""


class Loaded(ProtocolMessage, frozen=True):
    """Engine: the model is loaded."""

    model: ModelDescription


class Attached(ProtocolMessage, frozen=True):
    """Engine: the voice is loaded."""

    id: int
    model: ModelDescription


class Chunk(ProtocolMessage, frozen=True):
    """Engine: audio, in the body; `seconds` is how long the step took."""

    id: int
    seconds: float


class SpeakDone(ProtocolMessage, frozen=True):
    """Engine: that is over."""

    id: int


class RequestFailed(ProtocolMessage, frozen=True):
    """Engine: that has failed (0: the load). `error` is the name of a class in `ttsw.errors`."""

    id: int
    error: str
    text: str


class MemoryReport(msgspec.Struct, frozen=True):
    """What an engine's process has of memory, bytes.

    Args:
        resident: Main memory.
        allocated: GPU memory that tensors take, as torch counts it.
        reserved: GPU memory that torch has taken from the driver.
    """

    resident: int
    allocated: int = 0
    reserved: int = 0


class Pong(ProtocolMessage, frozen=True):
    """Engine: I am. `step_s` is how long the longest of the running steps has run."""

    memory: MemoryReport
    step_s: float


Order = Load | Prepare | Speak | Attach | Detach | ChunkTaken | Cancel | Ping | Close
Answer = Loaded | Attached | Chunk | SpeakDone | RequestFailed | Pong


def _decode(kind: type, value: str) -> Path:
    assert kind is Path, f"there is no {kind.__name__} in any message"
    return Path(value)


_encoder = msgspec.msgpack.Encoder(enc_hook=str)  # a path, or what an adapter's `model_info` may hold
_orders = msgspec.msgpack.Decoder(Order, dec_hook=_decode)
_answers = msgspec.msgpack.Decoder(Answer, dec_hook=_decode)


def frame(message: ProtocolMessage, body: bytes = b"") -> bytes:
    """Put a message, and what belongs to it, into a frame."""
    head = _encoder.encode(message)
    return b"".join((LENGTHS.pack(len(head), len(body)), head, body))


def read_order(head: bytes) -> Order:
    """Read what a worker says.

    Raises:
        InternalError: It is nothing of this protocol.
    """
    with _understanding():
        order: Order = _orders.decode(head)
    return order


def read_answer(head: bytes) -> Answer:
    """Read what an engine says.

    Raises:
        InternalError: It is nothing of this protocol.
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
    """Takes bytes as they come, and gives whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __repr__(self) -> str:
        return f"<Frames, {len(self._buffer)} bytes waiting>"

    def feed(self, data: bytes | bytearray) -> Iterator[tuple[bytes, bytes]]:
        """Take bytes; yields the head and the body of each frame that they complete.

        Raises:
            InternalError: These are no frames.
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
    """Say that something failed."""
    return RequestFailed(id, type(error).__name__, str(error))


def from_failed(failed: RequestFailed) -> TtswError:
    """Give the error that was told of."""
    kind = getattr(errors, failed.error, None)
    if isinstance(kind, type) and issubclass(kind, TtswError):
        return kind(failed.text)
    return InternalError(failed.text)
