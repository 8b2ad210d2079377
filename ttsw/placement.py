"""Where engines run, as a configuration says: on which device, in threads or in a process, under which interpreter.

A family whose libraries are pinned against those of others (`ttsw/adapters/requirements`) has an environment of its
own. Its models each get a process, and a GPU where there is one. All other families run in threads, on the CPU, unless
the configuration says otherwise.
"""

import os
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from ttsw.adapters.base import EngineSettings
from ttsw.adapters.envs.environment import EnvironmentState, find, own_families
from ttsw.adapters.families import adapter_class, find_family, home
from ttsw.adapters.hosts.base import Host
from ttsw.adapters.hosts.engine_processes import EngineProcesses, open_engine_processes
from ttsw.adapters.hosts.launch import Launch
from ttsw.adapters.hosts.thread import open_thread_host
from ttsw.concurrency.threads import Lane, run_in
from ttsw.config import Config, state_dir
from ttsw.device import Device, find_devices
from ttsw.errors import ConfigError, TtswError, UnavailableError
from ttsw.models.device_monitor import search_devices
from ttsw.packs.reference_audio import clips_dir
from ttsw.types import VoicePack

log = structlog.get_logger(__name__)


class Placement:
    """Opens hosts for models.

    Args:
        config: The configuration.
        engines: Owns the processes.
        devices: What there is.
        environ: The environment's variables.
    """

    def __init__(
        self,
        config: Config,
        engines: EngineProcesses,
        devices: Iterable[Device],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._config, self._engines, self._environ = config, engines, environ
        self._devices = {device.id: device for device in devices}

    def places(self, pack: VoicePack) -> Sequence[str]:
        """Name the devices that a model can be on, the best first. Imports what will run in this process.

        Raises:
            NotFoundError: No installed package brings the family.
            UnavailableError: What the family is based on isn't installed, or there is no device for the model.
        """
        if self.in_process(pack.family):
            find_family(pack.family)
            self._python(pack.family)
        else:
            adapter_class(pack.family)
        places = self._places(pack)
        if not places:
            raise UnavailableError(self._placeless(pack))
        return places

    def in_process(self, family: str) -> bool:
        """Whether a family's models get processes of their own."""
        engine = self._config.engine(family)
        if engine.host is None:
            return engine.python is not None or family in own_families()
        return engine.host == "process"

    def usable(self, pack: VoicePack) -> bool:
        """Say whether a model could be loaded here, as far as that shows without importing anything."""
        engine = self._config.engine(pack.family)
        try:
            find_family(pack.family)
            if engine.python is None and pack.family in own_families():
                there = find(pack.family, self._environ).state in {EnvironmentState.READY, EnvironmentState.OUTDATED}
            else:
                there = True
        except TtswError:
            return False
        return there and bool(self._places(pack))

    @asynccontextmanager
    async def lend(self, pack: VoicePack, base: VoicePack | None = None) -> AsyncGenerator[Host, None]:
        """Load a model for a block, and before it the one that it is based on, if it does; for who has no manager.

        Raises:
            TtswError: It can't be loaded.
        """
        if base is not None:
            async with self.lend(base) as standing:
                host = await standing.attach(pack)
                try:
                    yield host
                finally:
                    await host.close()  # noqa: ASYNC102 - it shields itself, with a deadline
            return
        places = await run_in(Lane.WEIGHING, self.places, pack)
        host = await self.open(pack, places[0])
        try:
            yield host
        finally:
            await host.close()  # noqa: ASYNC102 - it shields itself, with a deadline

    async def open(self, pack: VoicePack, device: str) -> Host:
        """Load a model on a device.

        Raises:
            OutOfMemoryError: There was no memory left for it.
            TtswError: It can't be loaded; the text says why.
        """
        if not self.in_process(pack.family):
            return await open_thread_host(pack, self._settings(pack.family, device), adapter_class)
        entry, engine = find_family(pack.family), self._config.engine(pack.family)
        launch = Launch(
            entry.value,
            python=self._python(pack.family),
            packages=home(entry),
            environ=self._devices[device].environ if device in self._devices else {},
            load_s=engine.load_timeout_s,
            answer_s=engine.answer_timeout_s,
            step_s=engine.step_timeout_s,
        )
        seen_as = "cpu" if device == "cpu" else "cuda:0"  # a process sees one GPU
        return await self._engines.open(pack, self._settings(pack.family, seen_as), launch)

    def _settings(self, family: str, device: str) -> EngineSettings:
        engine, state = self._config.engine(family), self._config.model_manager.state_dir or state_dir(self._environ)
        return EngineSettings(
            threads=engine.threads,
            concurrency=engine.concurrency,
            device=device,
            clips=self._clips(),
            cache=state / "cache",
        )

    def _clips(self) -> Path | None:
        try:
            return clips_dir(self._environ)
        except ConfigError:  # who has no home directory has registered nothing
            return None

    def _places(self, pack: VoicePack) -> list[str]:
        own, wanted = pack.family in own_families(), self._config.engine(pack.family).device
        gpus = [device for device in self._devices if device != "cpu" and self._allowed(device)]
        if wanted is None:
            return [*gpus, *(["cpu"] if pack.capabilities.cpu_ok else [])] if own else ["cpu"]
        return gpus if wanted == "cuda" else [wanted] if wanted in {"cpu", *gpus} else []

    def _allowed(self, device: str) -> bool:
        numbers = self._config.model_manager.gpus
        return numbers is None or device in {f"cuda:{number}" for number in numbers}

    def _placeless(self, pack: VoicePack) -> str:
        numbers, wanted = self._config.model_manager.gpus, self._config.engine(pack.family).device
        there = f"devices are {', '.join(self._devices)}"
        if numbers is not None:
            there += f", and model_manager.gpus allows the GPUs {list(numbers)}"
        if wanted is not None:
            return f"engines.{pack.family}.device is {wanted}, and there is none for it: {there}"
        return (
            f"model {pack.model_id!r} needs a GPU (its voice pack says cpu_ok: false), and there is none for it: "
            f"{there}; engines.{pack.family}.device: cpu has it run on the CPU all the same"
        )

    def _python(self, family: str) -> Path:
        engine = self._config.engine(family)
        if engine.python is not None:
            return engine.python
        if family not in own_families():
            return Path(sys.executable)
        environment = find(family, self._environ)
        if environment.state is EnvironmentState.OUTDATED:
            log.warning("a family's environment is outdated", family=family, mend=f"ttsw engines install {family}")
        elif environment.state is not EnvironmentState.READY:
            raise UnavailableError(
                f"family {family!r} runs in an environment of its own, and that is {environment.state}: "
                f"ttsw engines install {family} makes it; or engines.{family}.python names an interpreter that has all"
            )
        return environment.python


@asynccontextmanager
async def open_placement(config: Config) -> AsyncGenerator[Placement, None]:
    """Open hosts for a block, on the devices of this machine; where no worker is to be had."""
    async with open_engine_processes() as engines:
        yield Placement(config, engines, await search_devices(find_devices))
