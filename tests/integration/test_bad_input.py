"""What no honest client sends: each gets its defined answer, and a healthy session beside it misses no frame."""

import contextlib
import socket

import grpc
import h2.config
import h2.connection
import pytest

from tests.integration.support import Client, check_frames, eventually, pcm, refused, text_chunks
from ttsw.fronts.abi.generated.tts import (
    ControlRequest,
    ControlResponse,
    ErrorCode,
    StartSessionRequest,
    StartSessionResponse,
    TextChunk,
)

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04" + bytes(5)
NOT_TEXT = b"\xff\xfe\xc3\x28"
NAMES = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/tts.TTSService/Synthesize"),
    (":authority", "worker"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]


@pytest.fixture(scope="module")
def neighbour(worker):
    """A session that speaks in real time while all these tests run, from a connection of its own."""
    with Client(worker.address) as client, client.session(duration_ms=240_000, lead_ms=200) as session_id:
        call = client.open(session_id, "a")
        yield call
        call.cancel()


@pytest.fixture(autouse=True)
def healthy(neighbour, worker):
    """The neighbour's frames come in order, before, during and after each test; what a test costs is no frame."""
    first = next(neighbour)
    yield
    frames = [first]
    frames.extend(next(neighbour) for _ in range(5))
    assert [frame.sequence_number - first.sequence_number for frame in frames] == list(range(6))
    assert worker.process.poll() is None
    assert not worker.lines(level="error")


@pytest.fixture
def raw(worker):
    with socket.create_connection(("127.0.0.1", worker.port), timeout=30) as connection:
        yield connection


def read_to_end(connection):
    """Read until the worker closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            received += data
    return received


def field(number, content):
    """A length-delimited field of protobuf, short or long."""
    size, length = len(content), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2]) + bytes(length) + bytes([size]) + content


# ---- not gRPC, not HTTP/2


@pytest.mark.parametrize("garbage", [bytes(range(256)) * 64, b"\x16\x03\x01" + b"\xa5" * 500, bytes(10_000)])
def test_random_bytes_are_answered_with_the_end_of_the_connection(raw, garbage):
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        raw.sendall(garbage)
    read_to_end(raw)


def test_http_1_is_answered_with_the_end_of_the_connection(raw):
    raw.sendall(b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n")
    read_to_end(raw)


def test_half_a_preface_and_a_farewell(raw):
    raw.sendall(PREFACE[:12])
    raw.shutdown(socket.SHUT_WR)
    read_to_end(raw)


def test_a_frame_cut_short_and_a_farewell(raw):
    raw.sendall(PREFACE + SETTINGS + b"\x00\x40\x00\x00\x00\x00\x00\x00\x01" + bytes(100))
    raw.shutdown(socket.SHUT_WR)
    read_to_end(raw)


def test_a_frame_larger_than_allowed_is_told_so(raw):
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        raw.sendall(PREFACE + SETTINGS + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(0xFF_FFFF))
    assert goaways(read_to_end(raw)) == [6]  # FRAME_SIZE_ERROR


def test_ten_thousand_rapid_resets_are_told_to_calm_down(raw):
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    raw.sendall(connection.data_to_send())
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for at in range(10_000):
            connection.send_headers(2 * at + 1, NAMES)
            connection.reset_stream(2 * at + 1)
            if at % 100 == 99:
                raw.sendall(connection.data_to_send())
    assert goaways(read_to_end(raw)) == [11]  # ENHANCE_YOUR_CALM


def goaways(data):
    """The codes of the GOAWAYs in what a server sent."""
    codes = []
    while len(data) >= 9:
        size, kind = int.from_bytes(data[:3], "big"), data[3]
        if kind == 7:
            codes.append(int.from_bytes(data[13:17], "big"))
        data = data[9 + size :]
    return codes


# ---- not the messages that they should be


def test_a_message_of_100_mb_is_refused_before_it_is_taken(client, worker):
    with client.session(pacing="fast") as session_id:
        before = client.metric("device_memory_used_mb")
        code, text = refused(client.stream([bytes(100_000_000)]))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "262144" in text
        assert client.metric("device_memory_used_mb") < before + 60
        chunk = TextChunk(session_id=session_id, text="x" * 100_000_000, is_final=True)
        code, _ = refused(client.stream([TextChunk(session_id=session_id, text="Hello. "), chunk]))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        check_frames(client.speak(session_id, "Still there."), session_id)
    with pytest.raises(grpc.RpcError) as caught:
        client.unary("StartSession", bytes(100_000_000), StartSessionResponse)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("garbage", [field(1, NOT_TEXT), field(2, NOT_TEXT), b"\xff" * 20])
@pytest.mark.parametrize("first", [True, False])
def test_a_chunk_that_is_no_text_chunk(client, garbage, first):
    with client.session(pacing="fast") as session_id:
        before = [] if first else [TextChunk(session_id=session_id, text="Hello. ")]
        code, text = refused(client.stream([*before, garbage]))
        assert code is INVALID
        assert "TextChunk" in text
        check_frames(client.speak(session_id, "Still there."), session_id)


def test_bytes_that_are_nearly_a_chunk_do_no_harm(client):
    with client.session(pacing="fast") as session_id:
        for garbage in (NOT_TEXT, b"\x0a\xff\xff\xff\xff\x0f", b"\x12\x7fcut short"):
            with contextlib.suppress(grpc.RpcError):
                list(client.stream([TextChunk(session_id=session_id, text="Hello. "), garbage]))
            check_frames(client.speak(session_id, "Still there."), session_id)


@pytest.mark.parametrize("name", ["StartSession", "EndSession", "Control", "LoadModel", "UnloadModel"])
def test_a_request_with_text_that_is_no_utf_8(client, name):
    with pytest.raises(grpc.RpcError) as caught:
        client.unary(name, field(1, NOT_TEXT))
    assert caught.value.code() is INVALID
    assert "is not UTF-8" in caught.value.details()


def test_an_unknown_method(client):
    with pytest.raises(grpc.RpcError) as caught:
        client.unary("Sing", b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_fields_that_this_version_does_not_know_are_ignored(client):
    session_id = client.start(pacing="fast")
    chunk = bytes(TextChunk(session_id=session_id, text="Hello.", is_final=True)) + field(15, b"from the future")
    check_frames(list(client.stream([chunk])), session_id)
    client.end(session_id)


def test_a_stream_without_a_chunk(client):
    code, text = refused(client.stream([]))
    assert code is INVALID
    assert "empty" in text


# ---- texts


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\r\n",
        "\x00",
        "".join(map(chr, range(32))),
        "😀🎉👩\u200d👩\u200d👧",
        "\u202e\u200b\ufeff",
        "...",
        "—" * 1000,
    ],
)
@pytest.mark.parametrize("text_mode", ["chunks", "tokens"])
def test_a_text_without_a_word_is_an_empty_end_marker(client, text, text_mode):
    (frame,) = client.say(text, text_mode=text_mode)
    check_frames([frame])
    assert not frame.audio_data


def test_control_characters_and_emoji_among_words_are_not_spoken(client):
    plain = client.say("One two three.")
    dirty = client.say("One\x00 two\x1b \u202ethree.😀")
    check_frames(dirty)
    assert pcm(dirty) == pcm(plain)


def test_a_real_voice_survives_what_is_no_text(piper):
    frames = piper.say("Wait\x00\x1b[31m, what 😀 is \u202e this? <b>&amp;</b> %s {} $(rm) ℵ ½ 日本 ﷽")
    check_frames(frames)
    assert len(frames) > 50


def test_a_text_of_a_megabyte_is_refused(client):
    client.start("long", pacing="fast")
    code, text = refused(client.open("long", "word " * 200_000))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "bytes exceeds the limit of 262144 bytes" in text
    code, text = refused(client.open("long", "word " * 25_000))
    assert code is INVALID
    assert "100000 characters" in text
    assert "max_text_chars" in text
    check_frames(client.speak("long", "Still there."), "long")
    client.end("long")


def test_a_text_that_grows_beyond_the_limit_is_refused_when_it_does(client):
    with client.session(pacing="fast", ms_per_char=0.1) as session_id:
        code, _ = refused(client.open(session_id, *["word " * 2000] * 11))
        assert code is INVALID


def test_a_text_at_the_limit_is_spoken(client):
    frames = client.say("word " * 20_000, ms_per_char=0.1)
    check_frames(frames)
    assert len(frames) > 350


def test_a_word_of_a_hundred_thousand_letters(client):
    check_frames(client.say("a" * 100_000, ms_per_char=0.1))


def test_ten_thousand_empty_chunks(client):
    (frame,) = client.say(*[""] * 10_000)
    assert frame.is_final


# ---- names, commands, options


def test_an_unknown_session_is_told_so(client):
    code, text = refused(client.open("nobody", "Hello."))
    assert code is grpc.StatusCode.NOT_FOUND
    assert "nobody" in text
    answer = client.end("nobody")
    assert (answer.success, answer.error) == (False, ErrorCode.NOT_FOUND)


@pytest.mark.parametrize("command", [99, 4, -1, 2**31 - 1])
def test_an_unknown_command_is_refused_and_the_valid_ones_are_listed(client, command):
    number = command & 0xFFFF_FFFF_FFFF_FFFF
    varint = bytearray()
    while number > 0x7F:
        varint.append(number & 0x7F | 0x80)
        number >>= 7
    with client.session() as session_id:
        request = bytes(ControlRequest(session_id=session_id)) + b"\x10" + bytes([*varint, number])
        answer = client.unary("Control", request, ControlResponse)
    assert (answer.success, answer.error) == (False, ErrorCode.INVALID_ARGUMENT)
    assert f"no command {command};" in answer.message
    assert "PAUSE=0, RESUME=1, STOP=2, RELOAD=3" in answer.message


@pytest.mark.parametrize(
    "session_id", ["", "x" * 10_000, "日" * 50_000, "line\nbreak", "nul\x00", "\u202e", "bell\x07"]
)
def test_an_absurd_session_id_is_refused(client, session_id):
    answer = client.try_start(session_id)
    assert (answer.success, answer.error) == (False, ErrorCode.INVALID_ARGUMENT)
    assert "session_id" in answer.message
    assert len(answer.message) < 200
    code, text = refused(client.open(session_id, "Hello."))
    assert code is grpc.StatusCode.NOT_FOUND
    assert len(text) < 1000
    assert client.control(session_id, 0).error == ErrorCode.NOT_FOUND
    assert client.end(session_id).error == ErrorCode.NOT_FOUND


@pytest.mark.parametrize("session_id", ["x" * 256, "größe 日本 😀", "../../etc/passwd", "'; DROP TABLE"])
def test_an_unusual_session_id_is_a_name_as_any_other(client, worker, session_id):
    client.start(session_id, pacing="fast")
    check_frames(client.speak(session_id, "Hello."), session_id)
    assert worker.utterance(session_id)["cause"] == "finished"
    assert client.end(session_id).success


def test_a_session_id_that_changes_inside_one_stream(client):
    with client.session(pacing="fast") as one, client.session(pacing="fast") as other:
        chunks = [TextChunk(session_id=one, text="Hello. "), TextChunk(session_id=other, text="Me.", is_final=True)]
        code, text = refused(client.stream(chunks))
        assert code is INVALID
        assert one in text
        assert other in text
        for session_id in (one, other):
            check_frames(client.speak(session_id, "Still there."), session_id)


def test_synthesize_in_a_session_that_another_has_ended(client):
    session_id = client.start()
    client.end(session_id)
    code, _ = refused(client.open(session_id, "Hello."))
    assert code is grpc.StatusCode.NOT_FOUND


def test_a_text_goes_on_after_its_session_has_ended(client):
    """What is sent into a session that ends meanwhile is dropped, and the stream still ends in order."""
    session_id = client.start(delay_ms=50)
    chunks = text_chunks(session_id, *["word "] * 200)
    call = client.stream(iter(chunks))
    next(call)
    client.end(session_id)
    assert list(call)[-1].is_final


@pytest.mark.parametrize(
    "options",
    [
        {"": ""},
        {"": "x" * 100_000},
        {"lead_ms": "1e400"},
        {"lead_ms": "-0"},
        {"speed": "nan"},
        {"speed": "\x00"},
        {"duration_ms": "1e300"},
        {"chunk_ms": "0"},
        {"speed ": "1"},
        {"SPEED": "1"},
        {"x" * 100_000: "1"},
        {f"option-{at}": "1" for at in range(10_000)},
    ],
)
def test_absurd_options_are_refused(client, options):
    request = StartSessionRequest(session_id="absurd", options=options)
    answer = client.unary("StartSession", request, StartSessionResponse)
    assert (answer.success, answer.error) == (False, ErrorCode.INVALID_ARGUMENT)
    assert len(answer.message) < 2000


@pytest.mark.parametrize("name", ["work_mb", "size_mb", "load_ms"])
def test_a_client_can_not_have_the_server_s_memory_or_time(client, name):
    answer = client.try_start("greedy", **{name: 100_000})
    assert (answer.success, answer.error) == (False, ErrorCode.INVALID_ARGUMENT)
    assert f"option {name} belongs to the voice pack" in answer.message


@pytest.mark.parametrize("model_id", ["x" * 100_000, "../mock/440hz", "mock-440hz\n", "MOCK-440HZ", "\x00"])
def test_an_absurd_model_id_is_not_found(client, model_id):
    for answer in (client.try_start("absurd", model_id), client.load(model_id), client.unload(model_id)):
        assert (answer.success, answer.error) == (False, ErrorCode.NOT_FOUND)
        assert "mock-440hz" in answer.message
        assert len(answer.message) < 2000


def test_twenty_clients_that_vanish_in_mid_speech(client, connect, worker):
    with client.session() as session_id:
        for _ in range(20):
            leaver = connect(worker)
            call = leaver.open(session_id, "word " * 100)  # grpcio cancels a call that nobody holds
            next(call)
            leaver.close()
            eventually(lambda: client.metric("active_syntheses") == 1)  # the neighbour's
        check_frames(client.speak(session_id, "Hi."), session_id)
