"""Whether a family's environment works: its adapter imported there, and a sentence spoken with a tiny model."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from ttsw.adapters.envs.bootstrap import command
from ttsw.adapters.envs.environment import Environment, EnvironmentState, read_requirements
from ttsw.adapters.families import find_family, home
from ttsw.audio import to_mono
from ttsw.config import Config
from ttsw.config.schema import EngineConfig
from ttsw.errors import FailedPreconditionError, UnavailableError
from ttsw.packs.reader import PackError, read_pack
from ttsw.placement import open_placement
from ttsw.sessions.options import SessionOptions
from ttsw.types import Samples, VoicePack

BUILDERS = {
    family: f"ttsw.adapters.{package}.random_pack"
    for family, package in (("cosyvoice2", "cosyvoice2"), ("sesame", "sesame"), ("xtts-v2", "xtts"))
}
"""By family, the module whose `build(folder, size)` makes a voice pack of random weights."""

TEXT = "The birch canoe slid on the smooth planks."
PATIENCE_S = 600.0
"""How long the interpreter may take to import or to build, s; a cold disk takes a minute for torch."""


@dataclass(frozen=True)
class Inspection:
    """What an environment has.

    Args:
        python: Its Python's version.
        libraries: Versions by name, the family's own library first.
        devices: What torch can compute on.
    """

    python: str
    libraries: Mapping[str, str]
    devices: Sequence[str]


@dataclass(frozen=True)
class EngineSpeech:
    """How a sentence went.

    Args:
        seconds: The audio's duration, s.
        first_s: Until the first chunk, s.
        rtf: Compute seconds ÷ audio seconds.
    """

    seconds: float
    first_s: float
    rtf: float


def inspect(environment: Environment) -> Inspection:
    """Import a family's adapter in its environment, and see what is there.

    Raises:
        NotFoundError: There is no adapter for the family.
        FailedPreconditionError: There is no complete environment.
        UnavailableError: The adapter can't be imported there.
    """
    if environment.state in {EnvironmentState.ABSENT, EnvironmentState.INCOMPLETE}:
        raise FailedPreconditionError(
            f"the environment of {environment.family!r} is {environment.state}; "
            f"ttsw engines install {environment.family} makes it"
        )
    entry, pins = find_family(environment.family), read_requirements(environment.family).pins
    names = [pin.partition("==")[0] for pin in pins]
    shown = dict.fromkeys([names[0], *(name for name in names if name == "torch")])
    said = _run(environment, "look", entry.value, *shown, packages=home(entry))
    return Inspection(**json.loads(said.strip().rpartition("\n")[2]))


def build_pack(environment: Environment, root: Path) -> VoicePack:
    """Have a voice pack of random weights made, in a folder of voice packs.

    Raises:
        UnavailableError: It can't be made, or can't be used.
    """
    builder, folder = BUILDERS[environment.family], root / environment.family / "tiny"
    folder.mkdir(parents=True)
    _run(environment, "build", builder, str(folder), "tiny", packages=home(find_family(environment.family)))
    return read_pack(folder, root)


async def speak_once(pack: VoicePack, device: str | None) -> EngineSpeech:
    """Speak a sentence with a pack's model, as a worker would.

    Args:
        pack: The pack.
        device: Where the model is to be; None leaves it to the family.

    Raises:
        TtswError: It can't be loaded, or doesn't speak.
    """
    config = Config(engines={pack.family: EngineConfig(device=device)})
    async with open_placement(config) as placement, placement.open_host(pack) as host:
        options = SessionOptions.parse({}, host.model.options, defaults=pack.options, languages=pack.languages).engine
        await host.prepare(options)
        samples, compute_s, first_s, started = 0, 0.0, 0.0, trio.current_time()

        async def count(chunk: Samples, step_s: float) -> None:
            nonlocal samples, compute_s, first_s
            await trio.lowlevel.checkpoint()
            first_s = first_s or trio.current_time() - started
            samples, compute_s = samples + len(chunk), compute_s + step_s

        await host.speak(TEXT, options, to_mono, count)
    if not samples:
        raise PackError(f"the model of {pack.model_id} makes no audio of a sentence")
    seconds = samples / host.model.sample_rate
    return EngineSpeech(seconds, first_s, compute_s / seconds)


def _run(environment: Environment, *arguments: str, packages: Mapping[str, Path]) -> str:
    """Run `ttsw.adapters.envs.probe` in an environment, and give what it wrote."""
    line = command(environment.python, "ttsw.adapters.envs.probe", *arguments, packages=packages)
    try:
        done = subprocess.run(
            line,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
        )
    except OSError as error:
        raise UnavailableError(f"{environment.python} can't be run: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{environment.python} has not ended after {PATIENCE_S:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").rpartition("\n")[2]
        raise UnavailableError(
            f"the environment of {environment.family!r} doesn't work: {last}; "
            f"ttsw engines install {environment.family} --force makes it anew"
        )
    return done.stdout
