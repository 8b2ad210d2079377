"""An engine that does what its text says, for the tests of hosts: it may fail, hang, or take its process down."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import trio

from ttsw.adapters.base import TTSAdapter
from ttsw.errors import NotFoundError, OutOfMemoryError
from ttsw.options import Option


class Trouble(TTSAdapter):
    """`count N` speaks N chunks of 100 samples, the Nth full of N; other words are other troubles."""

    options = {"seed": Option("int", "has no effect", None, 0, 100)}  # noqa: RUF012
    concurrency = 4

    def __init__(self, pack, settings):
        super().__init__(pack)
        self.settings = settings
        self.steps = self.left = 0
        self.count = [pack.model_id]  # of all that is loaded

    @classmethod
    def load(cls, pack, settings):
        trouble = pack.options.get("load", "")
        _say(sys.stdout, "this goes to stdout")
        _say(sys.stderr, f"loading {pack.model_id}")
        _act(trouble)
        return cls(pack, settings)

    def attach(self, pack):
        _say(sys.stderr, f"deriving {pack.model_id}")
        _act(pack.options.get("load", ""))
        attached = type(self)(pack, self.settings)
        attached.count = self.count
        self.count.append(pack.model_id)
        return attached

    def close(self):
        self.count.remove(self.pack.model_id)
        if "close" in self.pack.options:
            Path(self.pack.options["close"]).write_text(self.pack.model_id, "utf-8")

    def prepare(self, options):
        if options.get("seed") == 13:
            raise NotFoundError("there is no thirteen")

    def speak(self, text, options):
        word, _, rest = text.partition(" ")
        try:
            if word == "count":
                for number in range(int(rest)):
                    self.steps += 1
                    yield np.full(100, number, np.float32)
            elif word == "slow":
                for number in range(int(rest)):
                    trio.from_thread.run(trio.sleep, 0.02)
                    yield np.full(100, number, np.float32)
            elif word == "steps":
                yield np.array([self.steps, self.left], np.float32)
            elif word == "loaded":
                yield np.array([len(self.count)], np.float32)
            elif word == "then":  # a chunk, and then trouble
                yield np.zeros(100, np.float32)
                _act(rest)
            elif word == "environment":
                yield np.array([len(os.environ.get(rest, ""))], np.float32)
            elif word == "where":
                Path(rest).write_text(sys.executable)
                yield np.zeros(1, np.float32)
            else:
                yield np.sin(np.arange(len(text) * 480, dtype=np.float32) / 20)
        finally:
            self.left += 1


def _say(file, text):
    file.write(f"{text}\n")
    file.flush()


def _act(trouble):  # noqa: PLR0912
    match trouble.split():
        case ["exit", code]:
            _say(sys.stderr, "the last words")
            os._exit(int(code))
        case ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["stop"]:
            os.kill(os.getpid(), signal.SIGSTOP)
        case ["segv"]:
            os.kill(os.getpid(), signal.SIGSEGV)
        case ["memory"]:
            raise OutOfMemoryError("CUDA out of memory")
        case ["error"]:
            raise ValueError("the tensor has a hole")
        case ["grip"]:  # holds the interpreter, as C code may
            sys.setswitchinterval(1e6)
            while True:
                pass
        case ["sleep", seconds]:
            time.sleep(float(seconds))  # noqa: TID251
        case ["garbage"]:
            for fd in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
                if fd > 2:
                    with suppress(OSError):
                        os.write(fd, b"\xff" * 64)
        case ["spawn", path]:  # a process of its own, which must not outlive it
            pid = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
            Path(path).write_text(str(pid))
            os.kill(os.getpid(), signal.SIGSTOP)
