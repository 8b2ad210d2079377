"""Runs a VITS voice on ONNX Runtime: cut in parts, window by window, or whole.

Decides how a session is set up, where noise comes from, and in which windows audio is made. Which parts there are is
`ttsw.adapters.piper.graph`'s to say; what a text's phoneme ids are, `ttsw.adapters.piper.adapter`'s.
"""

import errno
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import onnx
import onnxruntime
import structlog
from numpy.typing import NDArray

from ttsw.adapters.memory import is_out_of_memory, raise_machine_fault
from ttsw.adapters.onnx.graph_file import read_graph
from ttsw.adapters.onnx.session import open_session
from ttsw.adapters.piper.graph import NotVitsError, Parts, StageGraph, cut, graph_inputs
from ttsw.errors import TtswError, UnavailableError
from ttsw.system.machine import cannot_read, explain_fault, find_fault
from ttsw.types import Samples

log = structlog.get_logger(__name__)

_PIECE = 1 << 20

Plan = Callable[[int], Iterable[int]]
"""From a number of frames to where each window ends, the last at that number."""

FIRST_FRAMES = 32
"""The first window: 0.37 s of a voice at 22 050 Hz and 256 samples a frame, made in 45 ms on one core."""
MOST_FRAMES = 160
"""Windows double up to this: 1.9 s of audio, 0.2 s of computing. Longer ones would hold up stops and other sessions,
and save nothing that can be measured: 5 s of speech takes as much CPU time in these windows as in one."""
MOST_SEAM_ERROR = 1e-4
"""Difference between windows and the whole that rounding explains (5e-6 measured; a wrong reach gives 1e-2)."""


@dataclass(frozen=True, slots=True)
class Inference:
    """What one inference is to say, and how.

    Args:
        ids: Phoneme ids, with those for begin and end.
        noise_scale: Standard deviation of the prior's noise.
        length_scale: Stretch of all durations.
        noise_w: Standard deviation of the durations' noise.
        speaker: Index in a voice of several speakers; None in a voice of one.
    """

    ids: list[int]
    noise_scale: float
    length_scale: float
    noise_w: float
    speaker: int | None = None

    def feed(self) -> dict[str, NDArray[Any]]:
        """The inputs of a voice's graph, as Piper names them."""
        feed: dict[str, NDArray[Any]] = {
            "input": np.array([self.ids], np.int64),
            "input_lengths": np.array([len(self.ids)], np.int64),
            "scales": np.array([self.noise_scale, self.length_scale, self.noise_w], np.float32),
        }
        return feed if self.speaker is None else feed | {"sid": np.array([self.speaker], np.int64)}


class PiperEngine(Protocol):
    """Turns inferences into audio. One may serve several at a time: what belongs to one is in its iterator."""

    seeded: bool
    """Whether the noise comes from the generator that it is given."""

    def speak(self, what: Inference, chance: np.random.Generator) -> Iterator[Samples]:
        """Yield the audio of one inference, shape (n,), float32."""
        ...

    def close(self) -> None:
        """Drop the graph. Nothing may be spoken from then on."""
        ...


def open_engine(path: Path, threads: int, trial: Inference, device: str = "cpu") -> PiperEngine:
    """Load a voice's graph: cut if it can be, as it is if not.

    Args:
        path: The graph.
        threads: Threads of one inference.
        trial: Spoken once in windows and once whole; a graph in which the two differ is not cut.
        device: Where it runs: `cpu`, `cuda:0` …

    Raises:
        UnavailableError: The file is no graph of a Piper voice, can't be run on the device, or the machine lacks what
            that needs.
    """
    try:
        with _private_copy(path) as weights:  # mapped files stay when their names go
            return _open(path, weights, threads, trial, device)
    except TtswError:
        raise
    except Exception as error:  # ONNX Runtime's and protobuf's errors have no base of their own
        raise_machine_fault(error, f"{path} cannot be opened")
        raise UnavailableError(f"{path} is not the graph of a Piper voice, or it is damaged: {error}") from error


@contextmanager
def _private_copy(path: Path) -> Iterator[Path]:
    """Copy a graph to where nobody else changes it, for the block.

    Raises:
        UnavailableError: It can't be read, or the temporary folder can't take it.
        OutOfMemoryError: There is no memory for it.
    """
    with ExitStack() as stack:
        try:
            source = stack.enter_context(path.open("rb"))
        except OSError as error:
            raise cannot_read(path, error) from error
        try:
            copy = Path(stack.enter_context(TemporaryDirectory(prefix="ttsw-")), "weights")
            with copy.open("xb") as target:
                copyfileobj(source, target, _PIECE)
        except OSError as error:
            raise _no_copy(path, error) from error
        yield copy


def _no_copy(path: Path, error: OSError) -> TtswError:
    """Make the error of a temporary folder that can't take a graph."""
    folder = tempfile.tempdir or os.environ.get("TMPDIR") or "/tmp"
    size_mb = path.stat().st_size / 1e6
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        what = f"{path} cannot be opened: the temporary folder {folder} is full"
    elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR}:
        what = f"{path} cannot be opened: the temporary folder {folder} cannot be written to"
    else:
        what = f"{path} cannot be copied to the temporary folder {folder}"
        return explain_fault(what, error) or UnavailableError(f"{what}: {error}")
    return UnavailableError(
        f"{what} ({error.strerror}): make room there for {size_mb:.0f} MB, or set TMPDIR to a folder that has it"
    )


def _open(path: Path, weights: Path, threads: int, trial: Inference, device: str) -> PiperEngine:
    model = read_graph(weights)
    _check_inputs({value.name for value in graph_inputs(model)}, trial.feed().keys())
    try:
        return _open_cut(model, weights.parent, threads, trial, device)
    except NotVitsError as error:
        log.warning("voice_not_cut", file=str(path), reason=str(error))
        return WholePiperEngine(open_session(path, threads, device=device), trial)


def _check_inputs(found: AbstractSet[str], wanted: AbstractSet[str]) -> None:
    if found != wanted:
        raise ValueError(
            f"by its configuration it takes {', '.join(sorted(wanted))}, but it takes {', '.join(sorted(found))}"
        )


def _open_cut(
    model: onnx.ModelProto, weights: Path, threads: int, trial: Inference, device: str
) -> "StreamingPiperEngine":
    parts = cut(model)
    try:
        engine = StreamingPiperEngine(parts, threads, weights, device)
        difference = engine.seam_error(trial)
    except TtswError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or find_fault(error) is not None:
            raise
        raise NotVitsError(f"its parts do not run: {error}") from error
    if not difference <= MOST_SEAM_ERROR:
        raise NotVitsError(f"windows differ from the whole by {difference:g}")
    return engine


class WholePiperEngine:
    """The graph as it is: one chunk for an inference, with noise that nobody can repeat."""

    seeded = False

    def __init__(self, session: onnxruntime.InferenceSession, trial: Inference) -> None:
        self._session = session
        if not np.isfinite(session.run(None, trial.feed())[0]).all():
            raise ValueError("its audio is not finite")

    def speak(self, what: Inference, chance: np.random.Generator) -> Iterator[Samples]:
        """Yield all audio at once; see `PiperEngine.speak`."""
        yield self._session.run(None, what.feed())[0].reshape(-1)

    def close(self) -> None:
        """See `PiperEngine.close`."""
        del self._session


class StreamingPiperEngine:
    """The graph in parts: the front sees the whole text once, the stages work window by window."""

    seeded = True

    def __init__(self, parts: Parts, threads: int, weights: Path | None = None, device: str = "cpu") -> None:
        self._mean, self._deviation, self._duration_noise = parts.mean, parts.deviation, parts.duration_noise
        self._front = open_session(parts.front.SerializeToString(), threads, weights, device)
        self._stages = [_Stage(stage, threads, weights, device) for stage in parts.stages]

    def speak(self, what: Inference, chance: np.random.Generator) -> Iterator[Samples]:
        """Yield audio window by window; see `PiperEngine.speak`."""
        return self._speak(what, chance, windows)

    def close(self) -> None:
        """See `PiperEngine.close`. Sessions go one by one: each takes some ms, during which no Python thread runs."""
        del self._front
        while self._stages:
            self._stages.pop()

    def seam_error(self, what: Inference) -> float:
        """The greatest difference between audio made in windows and the same audio made at once."""
        plans: list[Plan] = [windows, lambda frames: [frames]]
        apart, whole = (np.concatenate([*self._speak(what, np.random.default_rng(0), plan)]) for plan in plans)
        return float(np.abs(apart - whole).max())

    def _speak(self, what: Inference, chance: np.random.Generator, plan: Plan) -> Iterator[Samples]:
        flow, frames = self._start(what, chance)
        for stop in plan(frames):
            yield flow.take(stop).reshape(-1)

    def _start(self, what: Inference, chance: np.random.Generator) -> tuple["_Flow", int]:
        """Run the front, draw the prior's sample, and lay the stages after it; nothing flows yet."""
        feed = what.feed()
        if self._duration_noise:
            feed[self._duration_noise] = chance.standard_normal((1, 2, len(what.ids)), np.float32)
        names = [output.name for output in self._front.get_outputs()]
        out = dict(zip(names, self._front.run(names, feed), strict=True))
        mean = out[self._mean]
        flow: _Flow = _Whole(mean + chance.standard_normal(mean.shape, np.float32) * out[self._deviation])
        for stage in self._stages:
            flow = _Staged(stage, flow, out, mean.shape[-1])
        return flow, mean.shape[-1]


def windows(frames: int, first: int = FIRST_FRAMES, most: int = MOST_FRAMES) -> Iterator[int]:
    """Yield where each window ends: the first is short, the next are twice as long as the one before, up to `most`.

    A rest shorter than half a window is not left alone, but joined to the window before it.

    >>> list(windows(500, first=32, most=160))
    [32, 96, 224, 384, 500]
    """
    stop, size = 0, first
    while stop < frames:
        stop = stop + size if frames - stop >= 1.5 * size else frames
        yield stop
        size = min(2 * size, most)


class _Flow(Protocol):
    """A tensor over time, shape (1, channels, frames · rate), that is taken piece by piece from the left."""

    def take(self, stop: int) -> Samples:
        """Return what follows the last piece, up to frame `stop`."""
        ...


class _Whole:
    """A tensor that is there already."""

    def __init__(self, values: Samples) -> None:
        self._values = values
        self._taken = 0

    def take(self, stop: int) -> Samples:
        piece = self._values[..., self._taken : stop]
        self._taken = stop
        return piece


class _Stage:
    """One stage, loaded."""

    def __init__(self, stage: StageGraph, threads: int, weights: Path | None, device: str) -> None:
        self.left, self.right, self.rate, self.sides = stage.left, stage.right, stage.rate, stage.sides
        self._session = open_session(stage.graph.SerializeToString(), threads, weights, device)
        self._input = stage.graph.graph.input[0].name

    def run(self, window: Samples, sides: Mapping[str, Samples]) -> Samples:
        result: Samples = self._session.run(None, {self._input: window, **sides})[0]
        return result


class _Staged:
    """What a stage makes of a flow: exactly what it would make of the whole, from windows and their margins."""

    def __init__(self, stage: _Stage, source: _Flow, sides: Mapping[str, Samples], frames: int) -> None:
        self._stage, self._source, self._frames = stage, source, frames
        self._sides = {name: sides[name] for name in stage.sides}
        self._held: Samples | None = None
        self._first = self._taken = 0

    def take(self, stop: int) -> Samples:
        if stop == self._taken and self._held is not None:
            return self._held[..., :0]  # the end was within reach of the last window
        stage, end = self._stage, min(stop + self._stage.right, self._frames)
        more = self._source.take(end)
        held = more if self._held is None else np.concatenate([self._held, more], axis=-1)
        out = stage.run(held, {name: self._cut(side, end) for name, side in self._sides.items()})
        piece = out[..., (self._taken - self._first) * stage.rate : (stop - self._first) * stage.rate]
        per_frame = held.shape[-1] // (end - self._first)
        kept = max(self._first, stop - stage.left)
        self._held = held[..., (kept - self._first) * per_frame :]
        self._first, self._taken = kept, stop
        return piece

    def _cut(self, side: Samples, end: int) -> Samples:
        """A side that has a time axis follows the window; a speaker's has none."""
        return side[..., self._first : end] if side.ndim == 3 and side.shape[-1] == self._frames else side
