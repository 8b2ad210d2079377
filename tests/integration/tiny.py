"""Families on torch, as their users have them: packs of random weights, their own environments, processes."""

import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import psutil

from tests.integration.support import TTSW, clean_environment, pcm
from ttsw.adapters.envs.environment import EnvironmentState, find
from ttsw.cli.engines.check import BUILDERS

ROOT = Path(__file__).parents[2]
ROUNDING = 1e-2
"""What is computed beside others is rounded otherwise, before it is brought to its level."""


def build(family: str, statements: str, **names: Path) -> None:
    """Run a family's builder of random weights, as `builder`, under the family's interpreter.

    Args:
        family: The family.
        statements: What to do.
        names: Paths that the statements name.
    """
    environment = find(family, os.environ)
    assert environment.state is EnvironmentState.READY, f"make test makes it, or: ttsw engines install {family}"
    given = "; ".join(f"{name} = Path({str(path)!r})" for name, path in names.items())
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        f"from pathlib import Path; import {BUILDERS[family]} as builder\n{given}\n{statements}"
    )
    subprocess.run([environment.python, "-I", "-W", "ignore", "-c", code], check=True, timeout=300)


def ttsw(*arguments: object, code: int = 0, **environ: object) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    more = {name: str(value) for name, value in environ.items()}
    line = [*TTSW, *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, env=clean_environment() | more, check=False)
    assert done.returncode == code, done.stderr
    return done


def samples(frames):
    """The audio of frames, full scale 1."""
    return np.frombuffer(pcm(frames), "<i2") / 32_768


def processes(worker):
    """The processes of a worker's engines."""
    return psutil.Process(worker.process.pid).children()


def difference(one, other) -> float:
    """The largest difference of two recordings, as long as both last."""
    size = min(len(one), len(other))
    return float(np.abs(one[:size] - other[:size]).max())


def say_at_once(connect, worker, wanted: Mapping[str, tuple[str, dict[str, object]]]) -> dict[str, np.ndarray]:
    """Say several texts at the same time, each from a client of its own; gives what was heard of each.

    Args:
        connect: Makes a client.
        worker: Whose.
        wanted: Text and options by name; a model among the options is `model_id`.
    """
    heard: dict[str, np.ndarray] = {}

    def speak(name):
        text, options = wanted[name]
        heard[name] = samples(connect(worker).say(text, **options))

    threads = [threading.Thread(target=speak, args=[name]) for name in wanted]  # noqa: TID251
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert heard.keys() == wanted.keys(), "somebody was refused"
    return heard
