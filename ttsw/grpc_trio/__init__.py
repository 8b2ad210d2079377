"""gRPC on trio: an HTTP/2 server for grpclib services, and a small client. Independent of the rest of ttsw."""

from ttsw.grpc_trio.client import Call, Channel, open_channel
from ttsw.grpc_trio.server import Server, serve
from ttsw.grpc_trio.settings import Settings
from ttsw.grpc_trio.stream import ServerStream

__all__ = ["Call", "Channel", "Server", "ServerStream", "Settings", "open_channel", "serve"]
