"""A worker in a process of its own, and a client on gRPC's C core: neither shares a line with the other."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import grpc

from ttsw.fronts.abi.generated.tts import (
    AudioFrame,
    ControlCommand,
    ControlRequest,
    ControlResponse,
    EndSessionRequest,
    EndSessionResponse,
    GetCapabilitiesRequest,
    GetCapabilitiesResponse,
    ListModelsRequest,
    ListModelsResponse,
    LoadModelRequest,
    LoadModelResponse,
    StartSessionRequest,
    StartSessionResponse,
    TextChunk,
    UnloadModelRequest,
    UnloadModelResponse,
)

TTSW = (sys.executable, "-m", "ttsw")
PATIENCE_S = 60.0
"""How long anything may take on a busy machine before it counts as stuck, s."""

PAUSE, RESUME, STOP, RELOAD = (
    ControlCommand.PAUSE,
    ControlCommand.RESUME,
    ControlCommand.STOP,
    ControlCommand.RELOAD,
)


def clean_environment(**extra: str) -> dict[str, str]:
    """This environment, without what configures a worker, and with `extra`.

    Each engine computes in one thread: the threads of several would spin on the same cores.
    """
    ours = ("TTSW_", "WORKER_NAME", "LOG_LEVEL")
    found = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return found | {"OMP_NUM_THREADS": "1"} | extra


def serve_in_vain(*arguments, **environment):
    """Run `ttsw serve` where it can't start, and return what it says on stderr."""
    ended = subprocess.run(
        [*TTSW, "serve", "--host", "127.0.0.1", *arguments], env=clean_environment(**environment), timeout=PATIENCE_S,
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert not ended.stdout
    assert "Traceback" not in ended.stderr
    return ended.stderr


def eventually(condition, patience_s: float = PATIENCE_S):
    """Ask until the answer is true, and return it: for what happens in another process, where no event reaches us."""
    deadline = time.monotonic() + patience_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {patience_s:g} s"
        time.sleep(0.01)  # noqa: TID251 - another process is waited for
    return answer


class Worker:
    """`ttsw serve`, from its start to its exit.

    Args:
        log: File that its stderr goes to.
        arguments: Of `ttsw serve`.
        environment: Variables that configure it.
        ready: Whether to wait until it serves.
    """

    def __init__(
        self, log: Path, *arguments: str, environment: dict[str, str] | None = None, ready: bool = True
    ) -> None:
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*TTSW, "serve", "--port", "0", "--host", "127.0.0.1", *arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True,
                env=clean_environment(**(environment or {})),
            )  # fmt: skip
        self.address = ""
        if ready:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Read the one line that it says when it serves."""
        line = self.process.stdout.readline()
        assert line.startswith("ready grpc://127.0.0.1:"), f"{line!r}; stderr: {self.log.read_text()}"
        self.address = line.strip().removeprefix("ready grpc://")

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Wait for its exit; the address line must have been all that it said on stdout."""
        try:
            code = self.process.wait(patience_s)
            assert not self.process.stdout.read()
        finally:
            self.kill()
        return code

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def lines(self, event: str | None = None, **fields: object) -> list[dict]:
        """The lines of its log, those with this event and these fields."""
        whole = self.log.read_text().rpartition("\n")[0].splitlines()
        lines = [json.loads(line) for line in whole]
        wanted = fields | ({"event": event} if event else {})
        return [line for line in lines if all(line.get(name) == value for name, value in wanted.items())]

    def utterance(self, session_id: str) -> dict:
        """What it logged of a session's only utterance."""
        eventually(lambda: self.lines("utterance", session_id=session_id))
        (line,) = self.lines("utterance", session_id=session_id)
        return line


class Client:
    """The service's methods, on a connection of its own."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def unary(self, name: str, request, reply_type=None, **metadata: str):
        """Call a unary method; without `reply_type`, the request is sent as the bytes that it is."""
        parse = reply_type.parse if reply_type else None
        call = self._channel.unary_unary(f"/tts.TTSService/{name}", bytes, parse)
        return call(request, timeout=PATIENCE_S, metadata=tuple(metadata.items()))

    def start(self, session_id: str | None = None, model_id: str = "", **options: object) -> str:
        """Start a session and return its id."""
        session_id = session_id or f"test-{uuid.uuid4().hex[:8]}"
        answer = self.try_start(session_id, model_id, **options)
        assert answer.success, answer.message
        return session_id

    def try_start(self, session_id: str, model_id: str = "", **options: object) -> StartSessionResponse:
        texts = {name: str(value) for name, value in options.items()}
        request = StartSessionRequest(session_id=session_id, model_id=model_id, options=texts)
        return self.unary("StartSession", request, StartSessionResponse)

    def end(self, session_id: str) -> EndSessionResponse:
        return self.unary("EndSession", EndSessionRequest(session_id=session_id), EndSessionResponse)

    @contextlib.contextmanager
    def session(self, model_id: str = "", **options: object) -> Iterator[str]:
        """A session for the length of a block."""
        session_id = self.start(None, model_id, **options)
        try:
            yield session_id
        finally:
            self.end(session_id)

    def control(self, session_id: str, command: int) -> ControlResponse:
        request = ControlRequest(session_id=session_id, command=command)
        return self.unary("Control", request, ControlResponse)

    def models(self) -> dict:
        answer = self.unary("ListModels", ListModelsRequest(), ListModelsResponse)
        return {model.model_id: model for model in answer.models}

    def load(self, model_id: str, *, preload_only: bool = False) -> LoadModelResponse:
        request = LoadModelRequest(model_id=model_id, preload_only=preload_only)
        return self.unary("LoadModel", request, LoadModelResponse)

    def unload(self, model_id: str, **metadata: str) -> UnloadModelResponse:
        return self.unary("UnloadModel", UnloadModelRequest(model_id=model_id), UnloadModelResponse, **metadata)

    def capabilities(self) -> GetCapabilitiesResponse:
        return self.unary("GetCapabilities", GetCapabilitiesRequest(), GetCapabilitiesResponse)

    def metric(self, name: str) -> float:
        return self.capabilities().metrics[name]

    def stream(self, chunks: Iterable[TextChunk | bytes]):
        """Open a Synthesize on these chunks: an iterator of frames that is also the call."""
        call = self._channel.stream_stream("/tts.TTSService/Synthesize", bytes, AudioFrame.parse)
        return call(iter(chunks), timeout=PATIENCE_S)

    def open(self, session_id: str, *texts: str):
        """Open a Synthesize on these texts, the last of them final."""
        return self.stream(text_chunks(session_id, *texts))

    def speak(self, session_id: str, *texts: str) -> list[AudioFrame]:
        """Speak these texts to the end."""
        return list(self.open(session_id, *texts))

    def repeatable(self) -> dict[str, object]:
        """Options with which the default voice says the same thing twice."""
        with contextlib.suppress(AssertionError), self.session(seed=5):
            return {"seed": 5}
        return {"noise_scale": 0, "noise_w": 0}

    def say(self, *texts: str, model_id: str = "", **options: object) -> list[AudioFrame]:
        """Speak these texts in a session of their own, fast unless asked otherwise."""
        with self.session(model_id, **{"pacing": "fast"} | options) as session_id:
            return self.speak(session_id, *texts)


def text_chunks(session_id: str, *texts: str) -> list[TextChunk]:
    """Chunks of a text, the last of them final."""
    last = len(texts) - 1
    return [
        TextChunk(session_id=session_id, text=text, is_final=at == last, sequence_number=at + 1)
        for at, text in enumerate(texts)
    ]


def pcm(frames: Iterable[AudioFrame]) -> bytes:
    """The frames' audio, end to end."""
    return b"".join(frame.audio_data for frame in frames)


def numbers(frames: Iterable[AudioFrame]) -> list[int]:
    """The frames' sequence numbers."""
    return [frame.sequence_number for frame in frames]


def check_frames(frames: list[AudioFrame], session_id: str | None = None) -> None:
    """Hold the frames of an utterance that ended well against the contract."""
    assert numbers(frames) == list(range(1, len(frames) + 1))
    assert [frame.is_final for frame in frames] == [False] * (len(frames) - 1) + [True]
    for frame in frames:
        assert len(frame.audio_data) == 1920 or (frame.is_final and not frame.audio_data)
        assert (frame.sample_rate, frame.frame_duration_ms) == (48_000, 20)
        assert frame.position_samples == (frame.sequence_number - 1) * 960
        assert session_id in {None, frame.session_id}
    segments = [frame.segment for frame in frames]
    assert segments == sorted(segments)
    assert segments[0] == 0


def refused(call) -> tuple[grpc.StatusCode, str]:
    """Read a call to its bad end, and return its status."""
    frames = []
    try:
        frames.extend(call)
    except grpc.RpcError as error:
        assert not any(frame.is_final for frame in frames)
        return error.code(), error.details()
    raise AssertionError(f"the call ended well, after {len(frames)} frames")
