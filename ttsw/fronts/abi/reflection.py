"""gRPC server reflection, v1 and v1alpha: descriptors of the served API, for clients without the proto files.

The encoded descriptors and their index are generated into `ttsw.fronts.abi.generated.descriptors`, so the server needs
no protobuf library.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from ttsw.errors import InvalidArgumentError, NotFoundError, TtswError
from ttsw.fronts.abi.generated import descriptors
from ttsw.fronts.abi.generated.grpc.reflection.v1 import (
    ErrorResponse,
    ExtensionNumberResponse,
    ExtensionRequest,
    FileDescriptorResponse,
    ListServiceResponse,
    ServerReflectionRequest,
    ServerReflectionResponse,
    ServiceResponse,
)
from ttsw.fronts.abi.health import OpenCalls
from ttsw.fronts.abi.status import STATUS, wire_message
from ttsw.grpc_trio import ServerStream

if TYPE_CHECKING:
    from grpclib._typing import IServable

VERSIONS = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
"""Packages of the service. Their messages are the same on the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptorIndex:
    """Descriptors of proto files, indexed by name.

    Attributes:
        files: Encoded FileDescriptorProto by file name.
        imports: Names of the directly imported files, by file name.
        symbols: File name by full name of a service, method, message, field, enum or enum value.
        extensions: File names of a message's extensions, by full message name and extension number.
    """

    files: Mapping[str, bytes]
    imports: Mapping[str, tuple[str, ...]]
    symbols: Mapping[str, str]
    extensions: Mapping[str, Mapping[int, str]]

    def with_imports(self, name: str) -> list[bytes]:
        """Return a file and its direct and indirect imports, the file first."""
        names = [name]
        for each in names:  # grows during the iteration
            names += [imported for imported in self.imports[each] if imported not in names]
        return [self.files[each] for each in names]


SERVED_INDEX = DescriptorIndex(
    files=descriptors.FILES,
    imports=descriptors.IMPORTS,
    symbols=descriptors.SYMBOLS,
    extensions=descriptors.EXTENSIONS,
)


class ReflectionServicer:
    """Implements proto/grpc/reflection in both versions.

    Args:
        services: The server's other services.
        index: Descriptors of all services.
    """

    def __init__(self, services: Iterable["IServable"], index: DescriptorIndex = SERVED_INDEX) -> None:
        paths = [path for service in (*services, self) for path in service.__mapping__()]
        self._services = sorted({path.split("/")[1] for path in paths})
        self._index = index
        self._calls = OpenCalls()

    def __repr__(self) -> str:
        return f"<ReflectionServicer {self._services}, {self._calls!r}>"

    def __mapping__(self) -> dict[str, Handler]:
        """Return the single method under the name of each version."""
        handler = Handler(
            self._handle_stream, Cardinality.STREAM_STREAM, ServerReflectionRequest, ServerReflectionResponse
        )
        return {f"/{package}.ServerReflection/ServerReflectionInfo": handler for package in VERSIONS}

    def close(self) -> None:
        """End every call with UNAVAILABLE, since some clients keep a call open all the time."""
        self._calls.close()

    def answer(self, request: ServerReflectionRequest) -> ServerReflectionResponse:
        """Return the response to a request; a failed lookup returns an error response with the status number.

        Raises:
            GRPCError: INTERNAL; the request can't be encoded. betterproto2 may decode a wrong type without an error.
        """
        try:
            bytes(request)
        except Exception as error:
            raise GRPCError(Status.INTERNAL, f"invalid ServerReflectionRequest: {error}") from error
        try:
            fields = self._find(request)
        except TtswError as error:
            refusal = ErrorResponse(error_code=STATUS[error.code].value, error_message=wire_message(error))
            fields = {"error_response": refusal}
        return ServerReflectionResponse(valid_host=request.host, original_request=request, **fields)

    async def _handle_stream(self, stream: ServerStream[ServerReflectionRequest, ServerReflectionResponse]) -> None:
        with self._calls.admit():
            async for request in stream:
                await stream.send_message(self.answer(request))
                await trio.lowlevel.checkpoint()  # a client with many requests must not block other tasks

    def _find(self, request: ServerReflectionRequest) -> dict[str, Any]:
        match request:
            case ServerReflectionRequest(list_services=str()):
                services = [ServiceResponse(name=name) for name in self._services]
                return {"list_services_response": ListServiceResponse(service=services)}
            case ServerReflectionRequest(file_by_filename=str(name)):
                return self._file(name if name in self._index.files else None, f"unknown file {name!r}")
            case ServerReflectionRequest(file_containing_symbol=str(name)):
                return self._file(self._index.symbols.get(name), f"unknown symbol {name!r}")
            case ServerReflectionRequest(file_containing_extension=ExtensionRequest() as extension):
                return self._extension_file(extension)
            case ServerReflectionRequest(all_extension_numbers_of_type=str(name)):
                numbers = sorted(self._extensions(name))
                found = ExtensionNumberResponse(base_type_name=name, extension_number=numbers)
                return {"all_extension_numbers_response": found}
            case _:
                raise InvalidArgumentError("empty or unknown reflection request")

    def _extension_file(self, extension: ExtensionRequest) -> dict[str, Any]:
        name, number = extension.containing_type, extension.extension_number
        return self._file(self._extensions(name).get(number), f"{name} has no extension {number}")

    def _extensions(self, name: str) -> Mapping[int, str]:
        if (extensions := self._index.extensions.get(name)) is None:
            raise NotFoundError(f"unknown message type {name!r}")
        return extensions

    def _file(self, name: str | None, error_message: str) -> dict[str, Any]:
        if name is None:
            raise NotFoundError(error_message)
        found = FileDescriptorResponse(file_descriptor_proto=self._index.with_imports(name))
        return {"file_descriptor_response": found}
