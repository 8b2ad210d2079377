"""The blocking client and the embedded synthesizer, as a script uses them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import pytest

from tests.integration.redis_server import free_port
from tests.integration.support import eventually
from ttsw import Client, Config, InvalidArgumentError, NotFoundError, UnavailableError, open_synthesizer


@pytest.fixture
def client(worker):
    with Client(worker.address) as client:
        yield client


def test_a_text_becomes_samples(client):
    samples = client.synthesize("Twenty characters ok", "mock-440hz")
    assert (samples.dtype, samples.shape) == (np.int16, (48_000,))
    assert np.abs(samples).max() > 1_000


def test_frames_arrive_one_by_one_and_text_may_come_in_pieces(client):
    frames = list(client.stream(iter(["Twenty charac", "ters ok"]), options={"text_mode": "tokens"}))
    assert {frame.shape for frame in frames} == {(960,)}
    assert len(frames) == 50


def test_closing_the_iterator_stops_the_speech_and_ends_the_session(client, worker, connect):
    frames = client.stream("A long text. " * 200, options={"pacing": "realtime"})
    assert len(list(islice(frames, 3))) == 3
    frames.close()
    other = connect(worker)
    eventually(lambda: other.metric("active_sessions") == 0)
    assert len(client.synthesize("Twenty characters ok")) == 48_000


def test_refusals_are_errors_with_the_workers_words(client):
    with pytest.raises(NotFoundError, match="no model 'x-y'"):
        client.synthesize("Hello", "x-y")
    with pytest.raises(InvalidArgumentError, match="speed"):
        client.synthesize("Hello", options={"speed": "fast"})
    with pytest.raises(NotFoundError):
        client.load_model("x-y")
    assert "mock-440hz" in {model.model_id for model in client.list_models()}


def test_several_threads_share_a_client(client):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(client.synthesize, ["Twenty characters ok"] * 8))
    assert [len(samples) for samples in results] == [48_000] * 8


def test_a_wrong_address_and_a_missing_worker_are_told():
    with pytest.raises(InvalidArgumentError, match="'localhost' is not an address"):
        Client("localhost")
    with pytest.raises(UnavailableError, match="can't connect"):
        Client(f"127.0.0.1:{free_port()}")


def test_no_thread_is_left_after_close(worker):
    before = threading.active_count()
    client = Client(worker.address)
    client.synthesize("Hi")
    client.close()
    client.close()
    eventually(lambda: threading.active_count() <= before)


async def test_a_program_speaks_without_a_server():
    async with open_synthesizer("mock-440hz", Config()) as synthesizer:
        frames = [frame async for frame in synthesizer.synthesize_streaming("Hello", options={"pacing": "fast"})]
    assert {len(frame) for frame in frames} == {1920}
    with pytest.raises(NotFoundError, match="no model 'x-y'"):
        async with open_synthesizer("x-y"):
            pass
