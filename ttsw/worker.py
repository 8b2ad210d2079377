"""The worker: its models, its sessions and its readiness, as one thing that RPCs can ask.

Decides what the worker tells of itself, and how it drains. Which tasks own what is `ttsw.app`'s to say.
"""

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import trio

from ttsw.adapters.hosts.engine_processes import EngineProcesses
from ttsw.concurrency.coalesce import Coalesced
from ttsw.concurrency.threads import Lane, run_in
from ttsw.config import Config, state_dir
from ttsw.device import Device, find_devices
from ttsw.device.wanted import check_gpus
from ttsw.errors import UnavailableError
from ttsw.loader import VoiceLoader
from ttsw.models.limits import ResidencyLimits
from ttsw.models.manager import ModelManager
from ttsw.models.measurements import MeasurementStore, ModelSize
from ttsw.models.source import PackSource
from ttsw.packs.capabilities import ModelCapabilities, combine
from ttsw.packs.catalogue import Catalogue, CatalogueReader, open_catalogue
from ttsw.placement import Placement
from ttsw.registry.record import WorkerRecord
from ttsw.sessions.admission import refuse_while
from ttsw.sessions.session import ConnectionLink, Session
from ttsw.sessions.stats import Stats
from ttsw.sessions.table import SessionTable
from ttsw.sessions.utterance import Utterance
from ttsw.sessions.voice import Voice
from ttsw.simulation.source import SimulatedSource
from ttsw.telemetry.metrics import Metrics
from ttsw.telemetry.snapshot import ModelSnapshot, WorkerSnapshot
from ttsw.telemetry.tracing import NO_TRACER, Tracer
from ttsw.types import VoicePack
from ttsw.version import __version__

log = structlog.get_logger(__name__)

MB = 1e6


class Readiness(StrEnum):
    """Whether the worker takes work."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Worker:
    """Everything that an RPC can ask.

    Args:
        config: The configuration.
        metrics: What is told of it; metrics of its own if None.
        tracer: What follows its utterances.
        simulation: What stands in the place of this machine's devices and models; None for these.
        devices: This machine's devices; searched for if None, which may block.
    """

    def __init__(
        self,
        config: Config,
        *,
        devices: Sequence[Device] | None = None,
        metrics: Metrics | None = None,
        tracer: Tracer = NO_TRACER,
        simulation: SimulatedSource | None = None,
    ) -> None:
        self.config = config
        self.metrics = metrics or Metrics(config.worker.name)
        self.tracer = tracer
        self.changed: Callable[[], None] = lambda: None
        """Called when readiness changes, or what is in memory."""
        self._readiness = Readiness.STARTING
        self.stats = Stats()
        self._utterance_ends = trio.lowlevel.ParkingLot()
        self.known_models = Coalesced(partial(run_in, Lane.LISTING, self._known_models, abandon=True))
        """The voice packs there are now, and what was measured of them at earlier loads, by id and device."""
        self._usable_packs = Coalesced(partial(run_in, Lane.LISTING, self._usable, abandon=True))
        models, worker = config.model_manager, config.worker
        self._engines = EngineProcesses()
        self.library: CatalogueReader | SimulatedSource
        self.devices: Sequence[Device]
        if simulation is None:
            self.devices = find_devices() if devices is None else devices
            self.library, self.book = open_packs(config), open_book(config)
            check_gpus(config, self.devices)
            hosting = Placement(config, self._engines, self.devices)
            self._usable_here = hosting.usable
            load: VoiceLoader | SimulatedSource = VoiceLoader(config, hosting, self.book, self._relieve)
        else:
            self.library, self.devices = simulation, [simulation.device]
            self.book = MeasurementStore(state_folder(config) / "simulated" / simulation.profile.name)
            self._usable_here, load = simulation.usable, simulation
        self._source = PackSource[Voice](self.library.refresh, self.book, self.devices, load.places, load)
        self.models = ModelManager[Voice](
            self._source,
            limits(config),
            check_s=models.evict_check_interval_ms / 1000,
            watcher=self,
        )
        self.sessions = SessionTable(
            self.models.take,
            limit_of=self.session_limit,
            mixed=models.mixed_sessions or math.inf,
            idle_timeout_s=worker.session_idle_timeout_s,
            orphan_timeout_s=worker.session_orphan_timeout_s,
            lead_ms=config.audio.lead_ms,
            most_characters=worker.max_text_chars,
            tally=self.metrics.tally,
        )

    @property
    def readiness(self) -> Readiness:
        """Whether it takes work."""
        return self._readiness

    @readiness.setter
    def readiness(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self.changed()

    def __repr__(self) -> str:
        return f"<Worker {self.readiness}, {self.sessions!r}, {self.models!r}>"

    async def run_models(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the models, and the processes that some of them are in, until cancelled."""
        async with self._engines.owned():  # which outlast the manager, so that it can have them closed in order
            await self.models.run(task_status=task_status)

    async def preload(self) -> None:
        """Load the default model and those to be preloaded, and be ready.

        Raises:
            TtswError: One of them can't be loaded.
        """
        models = self.config.model_manager
        for model_id in dict.fromkeys((models.default_model_id, *models.preload_model_ids)):
            await self.models.load(model_id)
        self.readiness = Readiness.READY

    async def drain(self) -> None:
        """Take no new work, let speech finish within `drain_timeout_s`, then end what is left."""
        self.readiness, self.sessions.draining = Readiness.DRAINING, True
        timeout_s = self.config.worker.drain_timeout_s
        log.info("draining", sessions=len(self.sessions), speaking=self.sessions.speaking, timeout_s=timeout_s)
        with trio.move_on_after(timeout_s):
            while self.sessions.speaking:
                await self._utterance_ends.park()
        cut = self.sessions.end_all(UnavailableError("the worker has stopped; speak the rest through another worker"))
        log.info("drained", utterances_cut=cut)

    async def start_session(
        self, session_id: str, model_id: str, options: dict[str, str], link: ConnectionLink | None = None
    ) -> Session:
        """Start a session; see `SessionTable.start`, and `named` for the model."""
        return await self.sessions.start(session_id, self.named(model_id), options, link)

    def session_limit(self, model_id: str) -> int:
        """How many sessions a model takes where it has the worker to itself.

        That is what the configuration or a profile says. Without either, it is the worker's limit, or a low number
        where the model is made for a GPU; a voice that is based on another model has that one's.
        """
        pack = self.models.packs.get(model_id) or self.library.shelf.packs.get(model_id)
        told = self.config.model_manager.max_sessions
        limit = self.config.worker.capabilities.max_concurrent_sessions
        if model_id in told or pack is None:
            return told.get(model_id, limit)
        if pack.base:
            return self.session_limit(pack.base)
        return int(min(limit, cautious_sessions(pack)))

    def named(self, model_id: str) -> str:
        """The model that a client means: an empty id is the default model's."""
        return model_id or self.config.model_manager.default_model_id

    async def begin(self, session_id: str, metadata: Mapping[str, object] | None = None) -> tuple[Session, Utterance]:
        """Begin an utterance of a session; waits a moment for the end of an earlier one.

        Raises:
            NotFoundError: There is no such session.
            FailedPreconditionError: It is speaking.
            UnavailableError: The worker is draining.
        """
        session = self.sessions[session_id]
        await session.wait_silent()
        refuse_while(draining=self.sessions.draining)
        utterance = session.begin()
        utterance.trace = self.tracer.utterance(session.model_id, session_id, metadata or {})
        return session, utterance

    def record(self, session: Session, utterance: Utterance) -> None:
        """Take note of an utterance that has ended: one line in the log, and the figures."""
        report = session.finish(utterance)
        self.stats.add(report)
        self.metrics.utterance_ended(session.model_id, report, report.duration_s)
        if utterance.silenced_s is not None:
            self.metrics.barged_in("stop", utterance.silenced_s)
        utterance.trace.end(report)
        self._utterance_ends.unpark_all()
        log.log(
            logging.WARNING if report.error else logging.INFO,
            "utterance",
            model_id=session.model_id,
            cause=report.cause.value,
            ttfa_ms=None if report.first_s is None else round(report.first_s * 1000, 1),
            rtf=None if report.rtf is None else round(report.rtf, 4),
            audio_s=round(report.audio_s, 2),
            frames=report.frames,
            segments=report.segments,
            characters=report.characters,
            underruns=report.underruns,
            largest_gap_ms=round(report.largest_gap_s * 1000, 1),
            **({"unread": report.unread} if report.unread else {}),
            **({"error": report.error} if report.error else {}),
        )

    def look(self) -> WorkerSnapshot:
        """How the worker stands, for the metrics; looks at nothing that could keep the event loop waiting."""
        statuses = {model_id: self.models.status(model_id) for model_id in {*self.models.packs, *self.models.failed}}
        return WorkerSnapshot(
            state=self.readiness.value,
            sessions=len(self.sessions),
            sessions_limit=self.session_limit(self.named("")),
            speaking=self.sessions.speaking,
            queued=sum(voice.host.waiting for voice in self.models.residents.values()),
            models=[ModelSnapshot(name, each.state.value, each.device, each.size) for name, each in statuses.items()],
            memory=self.models.seen,
            silent=tuple(self.silent_devices),
        )

    @property
    def silent_devices(self) -> Mapping[str, str]:
        """The devices that don't answer, and why not; what is told of their memory is what was last seen."""
        return self._source.silent

    def model_loaded(self, model_id: str, load_s: float) -> None:
        """See `ttsw.models.manager.ModelObserver`."""
        self.metrics.model_loaded(model_id, load_s)
        self.changed()

    def model_load_failed(self, model_id: str) -> None:
        """See `ttsw.models.manager.ModelObserver`."""
        self.metrics.model_load_failed(model_id)

    def model_unloaded(self, cause: str) -> None:
        """See `ttsw.models.manager.ModelObserver`."""
        self.metrics.model_unloaded(cause)
        self.changed()

    async def describe(self, addr: str) -> WorkerRecord:
        """What the registry is told.

        Args:
            addr: Where others reach the worker, `grpc://HOST:PORT`.
        """
        figures = await self.figures()
        free_mb = figures["device_memory_total_mb"] - figures["device_memory_used_mb"]
        return WorkerRecord(
            self.config.worker.name,
            addr,
            await self.capabilities()
            | {
                "state": self.readiness.value,
                "version": __version__,
                "device": ",".join(device.id for device in self.devices),
                "models": sorted(self.library.shelf.packs),
                "max_sessions": {model_id: self.session_limit(model_id) for model_id in sorted(self.models.residents)},
            },
            tuple(sorted(self.models.residents)),
            figures | {"device_memory_free_mb": free_mb},
        )

    async def capabilities(self) -> dict[str, Any]:
        """What it can do, by the names of the wire: as the configuration tells, else the sum of what its models can."""
        usable = await self._usable_packs()
        infos = self.model_infos()
        able = combine(
            ModelCapabilities.of(pack, infos.get(pack.model_id)) for pack in (self.models.packs | usable).values()
        )
        told = self.config.worker.capabilities.model_dump(exclude_none=True)
        capabilities = asdict(able.capabilities) | {"languages": able.languages} | told
        capabilities["max_concurrent_sessions"] = self.session_limit(self.named(""))
        return capabilities | {"languages": [*capabilities["languages"]]}

    def model_infos(self) -> dict[str, Mapping[str, Any]]:
        """What the models that are loaded say of themselves, by id."""
        return {model_id: voice.host.model.info for model_id, voice in self.models.residents.items()}

    def _usable(self) -> dict[str, VoicePack]:
        packs = self.library.refresh().packs
        return {model_id: pack for model_id, pack in packs.items() if self._usable_here(pack)}

    async def figures(self) -> dict[str, float]:
        """The worker's figures by name, as GetCapabilities gives them. Memory is that of GPUs where there are any."""
        hosts = [voice.host for voice in self.models.residents.values()]
        seen = await self.models.look()
        shown = [memory for memory in seen if memory.device != "cpu"] or seen
        return self.stats.metrics() | {
            "active_sessions": float(len(self.sessions)),
            "active_syntheses": float(self.sessions.speaking),
            "queue_depth": float(sum(host.waiting for host in hosts)),
            "model_loads_total": float(self.models.loads),
            "failed_model_loads_total": float(self.models.failed_loads),
            "model_unloads_total": float(self.models.unloads.total()),
            "device_memory_used_mb": sum(memory.used for memory in shown) / MB,
            "device_memory_total_mb": sum(memory.total for memory in shown) / MB,
            "devices_silent": float(len(self.silent_devices)),
            "models_memory_mb": sum(self.models.status(each).size for each in self.models.packs) / MB,
        }

    def _known_models(self) -> tuple[Catalogue, dict[str, Mapping[str, ModelSize]]]:
        shelf = self.library.refresh()
        return shelf, {model_id: self.book[model_id].measured for model_id in shelf.packs}

    async def _relieve(self, model_id: str) -> bool:
        return await self.models.relieve(model_id)


def cautious_sessions(pack: VoicePack) -> float:
    """How many sessions a model may be given of which nobody has measured what it can: by its size on a GPU.

    >>> from pathlib import Path
    >>> [cautious_sessions(VoicePack("f", "a", Path(), vram_mb=size)) for size in (0, 900, 4096, 6000)]
    [inf, 4, 3, 2]
    """
    if not pack.vram_mb:
        return math.inf
    return 4 if pack.vram_mb < 2_000 else 3 if pack.vram_mb < 5_500 else 2


def limits(config: Config) -> ResidencyLimits:
    """What residency keeps to, by the configuration."""
    models = config.model_manager
    return ResidencyLimits(
        cap=models.resident_cap,
        loads=models.max_parallel_loads,
        ttl_s=models.ttl_ms / 1000,
        min_residency_s=models.min_residency_ms / 1000,
        pinned=frozenset({models.default_model_id}),
        budget={device: size_mb * MB for device, size_mb in models.memory_budget_mb.items()},
        headroom=models.memory_headroom_mb * MB,
    )


def open_book(config: Config) -> MeasurementStore:
    """Open what was measured of models at earlier loads."""
    return MeasurementStore(state_folder(config) / "models")


def state_folder(config: Config) -> Path:
    """Give the folder of what the worker keeps."""
    return config.model_manager.state_dir or state_dir(os.environ)


def open_packs(config: Config) -> CatalogueReader:
    """Open the voice packs that are shipped, and those of the user's folder, which win."""
    return open_catalogue(config.model_manager.voicepacks_dir, os.environ)


def find_packs(config: Config) -> Catalogue:
    """Read the voice packs once; see `open_packs`."""
    return open_packs(config).shelf
