"""The service for grpclib's service API, on bytes: what grpclib's own server and ours on trio both run."""

from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from bench.references.script import SUCCESS, Script

SERVICE = "/tts.TTSService/"


class Bytes:
    """A message that is its bytes, with the methods of betterproto2's."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    def __bytes__(self) -> bytes:
        return self.data

    def SerializeToString(self) -> bytes:  # noqa: N802 - grpclib's codec calls it so
        """Encode."""
        return self.data

    @classmethod
    def FromString(cls, data: bytes) -> "Bytes":  # noqa: N802 - grpclib's codec calls it so
        """Decode."""
        return cls(data)


Calls = Stream[Bytes, Bytes]


class Service:
    """What a reference server answers."""

    def __init__(self) -> None:
        self.script = Script()

    def __mapping__(self) -> dict[str, Handler]:
        """The methods that the clients call."""
        unary, streams = Cardinality.UNARY_UNARY, Cardinality.STREAM_STREAM
        return {
            SERVICE + "Synthesize": Handler(self.synthesize, streams, Bytes, Bytes),
            SERVICE + "StartSession": Handler(self.succeed, unary, Bytes, Bytes),
            SERVICE + "Control": Handler(self.control, unary, Bytes, Bytes),
        }

    async def synthesize(self, stream: Calls) -> None:
        """Stream the messages."""
        script = self.script
        session_id = script.begin(await first(stream))
        for number in range(script.count):
            if session_id in script.stopped:
                return
            await self.send(stream, script.frame(number))

    @staticmethod
    async def send(stream: Calls, frame: bytes) -> None:
        """Send one message."""
        await stream.send_message(Bytes(frame))

    async def control(self, stream: Calls) -> None:
        """Stop a session's stream."""
        self.script.control(await first(stream))
        await stream.send_message(Bytes(SUCCESS))

    @staticmethod
    async def succeed(stream: Calls) -> None:
        """Say yes."""
        await first(stream)
        await stream.send_message(Bytes(SUCCESS))


async def first(stream: Calls) -> bytes:
    """Receive the request, or a stream's first message."""
    message = await stream.recv_message()
    assert message is not None
    return message.data
