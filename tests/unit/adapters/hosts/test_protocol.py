from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw import errors
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.hosts.base import ModelDescription
from ttsw.adapters.hosts.protocol import (
    LENGTHS,
    LONGEST,
    Cancel,
    Chunk,
    ChunkTaken,
    Close,
    Frames,
    Load,
    Loaded,
    MemoryReport,
    Ping,
    Pong,
    Prepare,
    ProtocolMessage,
    RequestFailed,
    Speak,
    SpeakDone,
    frame,
    from_failed,
    read_answer,
    read_order,
    to_failed,
)
from ttsw.errors import ErrorCode, InternalError, TtswError
from ttsw.options import Option
from ttsw.types import Capabilities, VoicePack

numbers = st.integers(0, 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
values = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), texts)
options = st.dictionaries(texts, values, max_size=5)
paths = st.sampled_from([Path("a.onnx"), Path("/voices/piper/joé/model.onnx")])
packs = st.builds(
    VoicePack,
    texts,
    texts,
    paths,
    capabilities=st.builds(Capabilities),
    languages=st.lists(texts).map(tuple),
    vram_mb=st.floats(0, 1e6),
    files=st.dictionaries(texts, paths),
    options=st.dictionaries(texts, texts),
)
settings = st.builds(EngineSettings, st.none() | st.integers(1, 64), cache=st.none() | paths)
models = st.builds(
    ModelDescription,
    packs,
    numbers,
    numbers,
    st.dictionaries(texts, st.builds(Option, st.just("float"), texts, st.none() | st.floats(0, 1))),
    st.dictionaries(texts, values),
    st.booleans(),
)
orders = st.one_of(
    st.builds(Load, texts, packs, settings),
    st.builds(Prepare, numbers, options),
    st.builds(Speak, numbers, texts, options),
    st.builds(ChunkTaken, numbers),
    st.builds(Cancel, numbers),
    st.just(Ping()),
    st.just(Close()),
)
answers = st.one_of(
    st.builds(Loaded, models),
    st.builds(Chunk, numbers, st.floats(0, 1e3)),
    st.builds(SpeakDone, numbers),
    st.builds(RequestFailed, numbers, texts, texts),
    st.builds(Pong, st.builds(MemoryReport, numbers, numbers, numbers), st.floats(0, 1e3)),
)


@given(orders)
def test_an_order_is_read_as_it_was_written(order):
    [(head, body)] = Frames().feed(frame(order))
    assert read_order(head) == order
    assert body == b""


@given(st.lists(st.tuples(answers, st.binary(max_size=300)), max_size=6), st.integers(1, 100))
def test_answers_are_read_as_they_were_written_however_they_are_cut(said, piece):
    data = b"".join(frame(message, body) for message, body in said)
    frames = Frames()
    heard = [found for at in range(0, len(data), piece) for found in frames.feed(data[at : at + piece])]
    assert [(read_answer(head), body) for head, body in heard] == said
    assert repr(frames) == "<Frames, 0 bytes waiting>"


@given(st.binary(max_size=200))
def test_nonsense_is_refused_and_nothing_else_happens(data):
    for read in (read_order, read_answer):
        with suppress(InternalError):
            assert isinstance(read(data), ProtocolMessage)


def test_a_frame_that_claims_too_much_is_refused_before_it_is_there():
    with pytest.raises(InternalError, match="not a frame"):
        list(Frames().feed(LENGTHS.pack(10, LONGEST + 1)))


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TtswError)]
)
def test_an_error_of_ours_arrives_as_what_it_is(kind):
    error = from_failed(to_failed(3, kind("so it is")))
    assert type(error) is kind
    assert str(error) == "so it is"


@pytest.mark.parametrize("named", ["ValueError", "ErrorCode", "ERRORS", "__name__", ""])
def test_an_error_that_isnt_ours_is_internal(named):
    error = from_failed(RequestFailed(3, named, "so it is"))
    assert type(error) is InternalError
    assert error.code is ErrorCode.INTERNAL
