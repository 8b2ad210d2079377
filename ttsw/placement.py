"""Placement: the device, the kind of host (threads or a process) and the interpreter of each model.

A family whose libraries conflict with those of others (`ttsw/adapters/requirements`) has an environment of its own. Its
models run in a process each, on a GPU if one is available. All other families run in threads, on the CPU, unless
configured otherwise.
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
    """Chooses devices for models, and opens their hosts.

    Args:
        config: The configuration.
        engines: Owner of the engine processes.
        devices: The machine's devices.
        environ: The environment variables.
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

    def devices_for(self, pack: VoicePack) -> Sequence[str]:
        """Return the devices that can hold a model, the best one first. Imports libraries that run in this process.

        Raises:
            NotFoundError: No installed package provides the family.
            UnavailableError: A library of the family isn't installed, or no device can hold the model.
        """
        if self.in_process(pack.family):
            find_family(pack.family)
            self._python(pack.family)
        else:
            adapter_class(pack.family)
        devices = self._devices_for(pack)
        if not devices:
            raise UnavailableError(self._no_device(pack))
        return devices

    def in_process(self, family: str) -> bool:
        """Return whether a family's models run in processes of their own."""
        engine = self._config.engine(family)
        if engine.host is None:
            return engine.python is not None or family in own_families()
        return engine.host == "process"

    def usable(self, pack: VoicePack) -> bool:
        """Return whether a model can probably be loaded here, without importing anything."""
        engine = self._config.engine(pack.family)
        try:
            find_family(pack.family)
            if engine.python is None and pack.family in own_families():
                ready = find(pack.family, self._environ).state in {EnvironmentState.READY, EnvironmentState.OUTDATED}
            else:
                ready = True
        except TtswError:
            return False
        return ready and bool(self._devices_for(pack))

    @asynccontextmanager
    async def open_host(self, pack: VoicePack, base: VoicePack | None = None) -> AsyncGenerator[Host, None]:
        """Load a model for a block, after its base model if it has one; for programs without a model manager.

        Raises:
            TtswError: The model can't be loaded.
        """
        if base is not None:
            async with self.open_host(base) as base_host:
                host = await base_host.attach(pack)
                try:
                    yield host
                finally:
                    await host.close()  # noqa: ASYNC102 - it shields itself, with a deadline
            return
        devices = await run_in(Lane.WEIGHING, self.devices_for, pack)
        host = await self.start_host(pack, devices[0])
        try:
            yield host
        finally:
            await host.close()  # noqa: ASYNC102 - it shields itself, with a deadline

    async def start_host(self, pack: VoicePack, device: str) -> Host:
        """Load a model on a device.

        Raises:
            OutOfMemoryError: The device ran out of memory.
            TtswError: The model can't be loaded; the message says why.
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
        visible_as = "cpu" if device == "cpu" else "cuda:0"  # each process sees one GPU only
        return await self._engines.open(pack, self._settings(pack.family, visible_as), launch)

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
        except ConfigError:  # without a home directory, no recording can be registered
            return None

    def _devices_for(self, pack: VoicePack) -> list[str]:
        own, wanted = pack.family in own_families(), self._config.engine(pack.family).device
        gpus = [device for device in self._devices if device != "cpu" and self._allowed(device)]
        if wanted is None:
            return [*gpus, *(["cpu"] if pack.capabilities.cpu_ok else [])] if own else ["cpu"]
        return gpus if wanted == "cuda" else [wanted] if wanted in {"cpu", *gpus} else []

    def _allowed(self, device: str) -> bool:
        numbers = self._config.model_manager.gpus
        return numbers is None or device in {f"cuda:{number}" for number in numbers}

    def _no_device(self, pack: VoicePack) -> str:
        numbers, wanted = self._config.model_manager.gpus, self._config.engine(pack.family).device
        available = f"devices are {', '.join(self._devices)}"
        if numbers is not None:
            available += f", and model_manager.gpus allows the GPUs {list(numbers)}"
        if wanted is not None:
            return f"engines.{pack.family}.device is {wanted}, and there is none for it: {available}"
        return (
            f"model {pack.model_id!r} needs a GPU (its voice pack says cpu_ok: false), and there is none for it: "
            f"{available}; engines.{pack.family}.device: cpu has it run on the CPU all the same"
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
    """Open a placement on this machine's devices for a block; for programs without a worker."""
    async with open_engine_processes() as engines:
        yield Placement(config, engines, await search_devices(find_devices))
