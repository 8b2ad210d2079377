"""Schema check: every field with every wire type, truncation at every byte, and arbitrary bytes."""

import struct
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.fronts.abi.generated import tts
from ttsw.fronts.abi.generated.grpc.health.v1 import HealthCheckRequest
from ttsw.fronts.abi.generated.grpc.reflection.v1 import ServerReflectionRequest
from ttsw.grpc_trio.schema import SchemaError, check

REQUESTS = [getattr(tts, name) for name in dir(tts) if name.endswith("Request")]
MESSAGES = [*REQUESTS, tts.TextChunk, tts.AudioFrame, tts.GetCapabilitiesResponse, tts.ListModelsResponse]
MESSAGES += [HealthCheckRequest, ServerReflectionRequest]
CONTENTS = {0: b"\x05", 1: bytes(8), 2: b"\x02hi", 5: bytes(4)}


def field(number, wire_type, content):
    return varint(number << 3 | wire_type) + content


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def meta(message_type):
    return message_type._betterproto.meta_by_field_name


@pytest.mark.parametrize("message_type", MESSAGES)
@pytest.mark.parametrize("wire_type", CONTENTS)
def test_a_field_of_another_kind_is_refused_by_its_name(message_type, wire_type):
    for name, about in meta(message_type).items():
        wanted = {"string": 2, "bytes": 2, "message": 2, "map": 2, "double": 1, "float": 5}.get(about.proto_type, 0)
        data = field(about.number, wire_type, CONTENTS[wire_type])
        if about.proto_type in {"message", "map"}:
            continue  # their contents are tested below
        if wire_type == wanted or (about.repeated and wire_type == 2):
            check(data, message_type)
            continue
        for beside in (b"", bytes(message_type())):
            with pytest.raises(SchemaError, match=rf"{message_type.__name__}\.{name} is a \w+, but was sent as"):
                check(beside + data, message_type)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (field(3, 0, b"\x05"), "StartSessionRequest.options is a map, but was sent as a varint"),
        (field(3, 2, b"\x02\x08\x05"), "StartSessionRequest.options.key is a string, but was sent as a varint"),
        (field(3, 2, b"\x05\x15" + bytes(4)), "StartSessionRequest.options.value is a string, but was sent as 32 bits"),
        (field(3, 2, b"\x03\x0a\x05a"), "StartSessionRequest.options.key is truncated"),
        (
            field(1, 2, b"\x02\xc3\x28"),
            "StartSessionRequest.session_id is not UTF-8: invalid continuation byte at byte 0",
        ),
        (field(1, 2, b"\x05ab"), "StartSessionRequest.session_id is truncated"),
        (field(1, 3, b""), "StartSessionRequest.session_id has wire type 3, which proto3 doesn't define"),
        (field(99, 7, b""), "field 99 of StartSessionRequest has wire type 7, which proto3 doesn't define"),
        (b"\xff" * 11, "StartSessionRequest has a varint of over 10 bytes"),
        (b"\x80", "StartSessionRequest is truncated"),
    ],
)
def test_errors_name_the_field(options, message):
    with pytest.raises(SchemaError) as caught:
        check(options, tts.StartSessionRequest)
    assert str(caught.value) == message


def test_unknown_fields_may_be_of_any_kind():
    for wire_type, content in CONTENTS.items():
        check(field(900, wire_type, content), tts.TextChunk)


def test_packed_numbers_are_checked():
    counts = SimpleNamespace(number=1, proto_type="int32", repeated=True)
    rates = SimpleNamespace(number=2, proto_type="double", repeated=True)
    meta = SimpleNamespace(meta_by_field_name={"counts": counts, "rates": rates}, cls_by_field={})
    fake = type("Fake", (), {"_betterproto": meta})
    check(field(1, 2, b"\x03\x01\x80\x01") + field(1, 0, b"\x01") + field(2, 2, b"\x08" + struct.pack("<d", 1)), fake)
    for broken in (field(1, 2, b"\x01\x80"), field(2, 2, b"\x07" + bytes(7))):
        with pytest.raises(SchemaError, match="is truncated"):
            check(broken, fake)


@given(st.sampled_from(MESSAGES), st.binary(max_size=60))
def test_accepted_bytes_are_parsed_to_the_types_of_the_schema(message_type, data):
    try:
        check(data, message_type)
    except SchemaError:
        return
    message = message_type.parse(data)
    kinds = {"string": str, "bytes": bytes, "bool": bool, "int32": int, "int64": int, "double": float, "map": dict}
    for name, about in meta(message_type).items():
        value = getattr(message, name)
        kind = list if about.repeated else kinds.get(about.proto_type)
        assert kind is None or isinstance(value, kind) or value is None
        if about.proto_type == "map":
            assert all(isinstance(key, str) for key in value)


@given(
    st.builds(
        tts.StartSessionRequest,
        session_id=st.text(max_size=9),
        model_id=st.text(max_size=9),
        options=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    ),
)
def test_every_honest_message_passes_and_no_cut_of_it_fails_with_another_error(message):
    data = bytes(message)
    check(data, tts.StartSessionRequest)
    errors = set()
    for end in range(len(data)):
        try:
            check(data[:end], tts.StartSessionRequest)
        except SchemaError as error:
            errors.add(str(error).rpartition(" is ")[2])
    assert errors <= {"truncated"}
