"""gRPC's server reflection, v1 and v1alpha: what the server serves, for clients that have no proto files.

Decides how a question is answered. What the proto files declare comes encoded, with its index, from
`ttsw.fronts.abi.generated.descriptors`: protobuf's own library, which could read it out of them, isn't needed to serve.
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
from ttsw.fronts.abi.status import STATUS, message_of
from ttsw.grpc_trio import ServerStream

if TYPE_CHECKING:
    from grpclib._typing import IServable

VERSIONS = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
"""Packages of the service. Their messages differ in nothing but this name, which isn't on the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What proto files declare.

    Attributes:
        files: Each file's FileDescriptorProto, encoded, by the file's name.
        imports: The names of the files that a file imports.
        symbols: The file of every full name: services, methods, messages, fields, enums and their values.
        extensions: Every message, with the files of its extensions by number.
    """

    files: Mapping[str, bytes]
    imports: Mapping[str, tuple[str, ...]]
    symbols: Mapping[str, str]
    extensions: Mapping[str, Mapping[int, str]]

    def with_imports(self, name: str) -> list[bytes]:
        """Return a file and all that it needs, itself first."""
        names = [name]
        for each in names:  # which grows meanwhile
            names += [needed for needed in self.imports[each] if needed not in names]
        return [self.files[each] for each in names]


OURS = Declared(
    files=descriptors.FILES,
    imports=descriptors.IMPORTS,
    symbols=descriptors.SYMBOLS,
    extensions=descriptors.EXTENSIONS,
)


class ReflectionServicer:
    """The service of proto/grpc/reflection, in both versions.

    Args:
        services: What the server serves beside this.
        declared: What their proto files declare.
    """

    def __init__(self, services: Iterable["IServable"], declared: Declared = OURS) -> None:
        paths = [path for service in (*services, self) for path in service.__mapping__()]
        self._services = sorted({path.split("/")[1] for path in paths})
        self._declared = declared
        self._calls = OpenCalls()

    def __repr__(self) -> str:
        return f"<ReflectionServicer {self._services}, {self._calls!r}>"

    def __mapping__(self) -> dict[str, Handler]:
        """The one method, under the name of each version."""
        handler = Handler(self._converse, Cardinality.STREAM_STREAM, ServerReflectionRequest, ServerReflectionResponse)
        return {f"/{package}.ServerReflection/ServerReflectionInfo": handler for package in VERSIONS}

    def close(self) -> None:
        """End every call with UNAVAILABLE: some clients keep one open for as long as they run."""
        self._calls.close()

    def answer(self, request: ServerReflectionRequest) -> ServerReflectionResponse:
        """Answer a question; what can't be answered is an answer too, with the status's number.

        Raises:
            GRPCError: INTERNAL, this is no question: betterproto2 takes a number for a text until that is to be sent.
        """
        try:
            bytes(request)
        except Exception as error:
            raise GRPCError(Status.INTERNAL, f"no ServerReflectionRequest: {error}") from error
        try:
            answer = self._find(request)
        except TtswError as error:
            refusal = ErrorResponse(error_code=STATUS[error.code].value, error_message=message_of(error))
            answer = {"error_response": refusal}
        return ServerReflectionResponse(valid_host=request.host, original_request=request, **answer)

    async def _converse(self, stream: ServerStream[ServerReflectionRequest, ServerReflectionResponse]) -> None:
        with self._calls.admit():
            async for request in stream:
                await stream.send_message(self.answer(request))
                await trio.lowlevel.checkpoint()  # who asks a thousand things at once keeps nobody else waiting

    def _find(self, request: ServerReflectionRequest) -> dict[str, Any]:
        match request:
            case ServerReflectionRequest(list_services=str()):
                services = [ServiceResponse(name=name) for name in self._services]
                return {"list_services_response": ListServiceResponse(service=services)}
            case ServerReflectionRequest(file_by_filename=str(name)):
                return self._file(name if name in self._declared.files else None, f"no file {name!r}")
            case ServerReflectionRequest(file_containing_symbol=str(name)):
                return self._file(self._declared.symbols.get(name), f"nothing is named {name!r}")
            case ServerReflectionRequest(file_containing_extension=ExtensionRequest() as asked):
                return self._extending(asked)
            case ServerReflectionRequest(all_extension_numbers_of_type=str(name)):
                numbers = sorted(self._extensions(name))
                found = ExtensionNumberResponse(base_type_name=name, extension_number=numbers)
                return {"all_extension_numbers_response": found}
            case _:
                raise InvalidArgumentError("the request asks for nothing that is known here")

    def _extending(self, asked: ExtensionRequest) -> dict[str, Any]:
        name, number = asked.containing_type, asked.extension_number
        return self._file(self._extensions(name).get(number), f"{name} has no extension {number}")

    def _extensions(self, name: str) -> Mapping[int, str]:
        if (extensions := self._declared.extensions.get(name)) is None:
            raise NotFoundError(f"no message is named {name!r}")
        return extensions

    def _file(self, name: str | None, otherwise: str) -> dict[str, Any]:
        if name is None:
            raise NotFoundError(otherwise)
        found = FileDescriptorResponse(file_descriptor_proto=self._declared.with_imports(name))
        return {"file_descriptor_response": found}
