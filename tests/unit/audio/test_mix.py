import numpy as np
import pytest

from ttsw.audio.mix import to_mono
from ttsw.errors import InternalError


def test_mono_float32_passes_as_it_is():
    chunk = np.array([0.5, -2.0], np.float32)
    assert to_mono(chunk) is chunk


@pytest.mark.parametrize(
    ("chunk", "mono"),
    [
        (np.array([0.5, -1.0]), [0.5, -1.0]),
        (np.array([0.5], np.float16), [0.5]),
        (np.array([-32_768, 16_384], np.int16), [-1.0, 0.5]),
        (np.array([[0.5, 0.25], [1.0, -1.0]]), [0.375, 0.0]),
        (np.array([[16_384, -16_384]], np.int16), [0.0]),
        (np.zeros((3, 1)), [0.0, 0.0, 0.0]),
        (np.zeros(0), []),
        (np.zeros((0, 2), np.int16), []),
    ],
)
def test_what_an_engine_may_give(chunk, mono):
    result = to_mono(chunk)
    assert result.dtype == np.float32
    assert result.tolist() == mono


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (np.zeros((2, 480)), r"shape \(2, 480\)"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.zeros(()), r"shape \(\)"),
        (np.zeros((5, 0)), r"shape \(5, 0\)"),
        (np.zeros(3, np.int32), "int32"),
        (np.zeros(3, complex), "complex128"),
        ([0.0, 1.0], "list"),
    ],
)
def test_what_it_may_not(chunk, message):
    with pytest.raises(InternalError, match=message):
        to_mono(chunk)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_samples_that_are_no_numbers_are_counted_and_placed(bad):
    chunk = np.zeros(1000)
    chunk[[20, 700]] = bad
    with pytest.raises(InternalError, match="2 of 1000 samples as NaN or infinite, the first at 5020"):
        to_mono(chunk, start=5000)


def test_absurdly_loud_is_still_a_number():
    assert to_mono(np.full(8, 3e38, np.float32)).max() > 1e38
