"""The worker: models, sessions and readiness behind one object, which the fronts call.

It decides what the worker reports about itself, and how it drains. `ttsw.app` decides which tasks own its parts.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from typing import Any

import structlog
import trio

from ttsw.adapters.hosts.engine_processes import EngineProcesses
from ttsw.concurrency.coalesce import Coalesced
from ttsw.concurrency.threads import Lane, run_in
from ttsw.config import Config
from ttsw.device import Device, find_devices
from ttsw.device.wanted import check_gpus
from ttsw.errors import UnavailableError
from ttsw.loader import VoiceLoader
from ttsw.models.limits import ResidencyLimits
from ttsw.models.manager import ModelManager
from ttsw.models.measurements import MeasurementStore, ModelRecord, open_measurements, state_folder
from ttsw.models.source import Loader, PackReader, PackSource
from ttsw.packs.capabilities import ModelCapabilities, combine
from ttsw.packs.catalogue import Catalogue, open_packs
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
    """Whether the worker accepts work."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Worker:
    """A worker's state, and every operation that a front may call.

    Args:
        config: The configuration.
        metrics: Where its metrics are counted; None creates them.
        tracer: Traces its utterances.
        simulation: Replaces this machine's devices and models; None uses the real ones.
        devices: This machine's devices; None searches for them, which may block.
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
        """Called when the readiness or the set of loaded models changes."""
        self._readiness = Readiness.STARTING
        self.stats = Stats()
        self._utterance_ends = trio.lowlevel.ParkingLot()
        self.known_models = Coalesced(partial(run_in, Lane.LISTING, self._known_models, abandon=True))
        """Returns the current catalogue, and the records of earlier loads by model id."""
        self._usable_packs = Coalesced(partial(run_in, Lane.LISTING, self._usable, abandon=True))
        self._engines = EngineProcesses()
        self.pack_reader: PackReader
        self.devices: Sequence[Device]
        loader: Loader[Voice]
        if simulation is None:
            self.devices = find_devices() if devices is None else devices
            self.pack_reader, self.measurements = open_packs(config), open_measurements(config)
            check_gpus(config, self.devices)
            placement = Placement(config, self._engines, self.devices)
            self._usable_here = placement.usable
            loader = VoiceLoader(config, placement, self.measurements, self._relieve)
        else:
            self.pack_reader, self.devices, loader = simulation, [simulation.device], simulation
            self.measurements = MeasurementStore(state_folder(config) / "simulated" / simulation.profile.name)
            self._usable_here = simulation.usable
        self._source = PackSource[Voice](
            self.pack_reader.refresh, self.measurements, self.devices, loader.devices_for, loader.load
        )
        models, worker = config.model_manager, config.worker
        self.models = ModelManager[Voice](
            self._source,
            residency_limits(config),
            check_s=models.evict_check_interval_ms / 1000,
            watcher=self,
        )
        self.sessions = SessionTable(
            self.models.acquire,
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
        """Whether the worker accepts work."""
        return self._readiness

    @readiness.setter
    def readiness(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self.changed()

    def __repr__(self) -> str:
        return f"<Worker {self.readiness}, {self.sessions!r}, {self.models!r}>"

    async def run_models(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the models and the engine processes until cancelled."""
        async with self._engines.owned():  # the processes outlast the manager, which closes them in order
            await self.models.run(task_status=task_status)

    async def preload(self) -> None:
        """Load the default model and the configured others, then become ready.

        Raises:
            TtswError: One of them can't be loaded.
        """
        models = self.config.model_manager
        for model_id in dict.fromkeys((models.default_model_id, *models.preload_model_ids)):
            await self.models.load(model_id)
        self.readiness = Readiness.READY

    async def drain(self) -> None:
        """Refuse new work, let speech finish within `drain_timeout_s`, then end the remaining sessions."""
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
        """Start a session; see `SessionTable.start`. An empty model id means the default model."""
        return await self.sessions.start(session_id, self.named(model_id), options, link)

    def session_limit(self, model_id: str) -> int:
        """Return a model's session limit when no other model is in use.

        The configuration or a profile sets it. Otherwise it is the worker's limit, or a low number for a model made for
        a GPU. A voice has the limit of the model that it is based on.
        """
        pack = self.models.packs.get(model_id) or self.pack_reader.catalogue.packs.get(model_id)
        configured = self.config.model_manager.max_sessions
        limit = self.config.worker.capabilities.max_concurrent_sessions
        if model_id in configured or pack is None:
            return configured.get(model_id, limit)
        if pack.base:
            return self.session_limit(pack.base)
        return int(min(limit, cautious_sessions(pack)))

    def named(self, model_id: str) -> str:
        """Return a model id, or the default model's for an empty one."""
        return model_id or self.config.model_manager.default_model_id

    async def begin(self, session_id: str, metadata: Mapping[str, object] | None = None) -> tuple[Session, Utterance]:
        """Begin an utterance of a session, after waiting briefly for the end of an earlier one.

        Raises:
            NotFoundError: No session has this id.
            FailedPreconditionError: The session is speaking.
            UnavailableError: The worker is draining.
        """
        session = self.sessions[session_id]
        await session.wait_silent()
        refuse_while(draining=self.sessions.draining)
        utterance = session.begin()
        utterance.trace = self.tracer.utterance(session.model_id, session_id, metadata or {})
        return session, utterance

    def record(self, session: Session, utterance: Utterance) -> None:
        """Log a finished utterance, and update the metrics."""
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
        """Return a snapshot of the worker for the metrics, without anything that could block the event loop."""
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
        """Devices that don't respond, with the reason; their reported memory is the last known."""
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
        """Return the worker's record for the registry.

        Args:
            addr: The worker's address for others, `grpc://HOST:PORT`.
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
                "models": sorted(self.pack_reader.catalogue.packs),
                "max_sessions": {model_id: self.session_limit(model_id) for model_id in sorted(self.models.residents)},
            },
            tuple(sorted(self.models.residents)),
            figures | {"device_memory_free_mb": free_mb},
        )

    async def capabilities(self) -> dict[str, Any]:
        """Return the capabilities by their names on the wire: as configured, else those of all models combined."""
        usable = await self._usable_packs()
        infos = self.model_infos()
        able = combine(
            ModelCapabilities.of(pack, infos.get(pack.model_id)) for pack in (self.models.packs | usable).values()
        )
        configured = self.config.worker.capabilities.model_dump(exclude_none=True)
        capabilities = asdict(able.capabilities) | {"languages": able.languages} | configured
        capabilities["max_concurrent_sessions"] = self.session_limit(self.named(""))
        return capabilities | {"languages": [*capabilities["languages"]]}

    def model_infos(self) -> dict[str, Mapping[str, Any]]:
        """Return the descriptions of the loaded models, by id."""
        return {model_id: voice.host.model.info for model_id, voice in self.models.residents.items()}

    def _usable(self) -> dict[str, VoicePack]:
        packs = self.pack_reader.refresh().packs
        return {model_id: pack for model_id, pack in packs.items() if self._usable_here(pack)}

    async def figures(self) -> dict[str, float]:
        """Return the worker's metrics by name, for GetCapabilities; memory is that of the GPUs, if any."""
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

    def _known_models(self) -> tuple[Catalogue, dict[str, ModelRecord]]:
        catalogue = self.pack_reader.refresh()
        return catalogue, {model_id: self.measurements[model_id] for model_id in catalogue.packs}

    async def _relieve(self, model_id: str) -> bool:
        return await self.models.relieve(model_id)


def cautious_sessions(pack: VoicePack) -> float:
    """Return a session limit for a model that has never been measured, by its size on a GPU.

    >>> from pathlib import Path
    >>> [cautious_sessions(VoicePack("f", "a", Path(), vram_mb=size)) for size in (0, 900, 4096, 6000)]
    [inf, 4, 3, 2]
    """
    if not pack.vram_mb:
        return math.inf
    return 4 if pack.vram_mb < 2_000 else 3 if pack.vram_mb < 5_500 else 2


def residency_limits(config: Config) -> ResidencyLimits:
    """Return the limits of residency that a configuration sets."""
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
