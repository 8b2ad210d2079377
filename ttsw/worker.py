"""The worker: its models, its sessions and its readiness, as one thing that RPCs can ask.

Decides what the worker tells of itself, and how it drains. Which tasks own what is `ttsw.app`'s to say.
"""

import logging
import os
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from pathlib import Path

import structlog
import trio

from ttsw.adapters.base import EngineSettings
from ttsw.adapters.families import adapter_class
from ttsw.adapters.host import ThreadHost
from ttsw.config import Config, shipped_dir
from ttsw.errors import UnavailableError
from ttsw.models.manager import Lifetime, ModelManager
from ttsw.models.packs import Shelf, read_shelf
from ttsw.sessions.admission import refuse_while
from ttsw.sessions.session import Session
from ttsw.sessions.stats import Stats
from ttsw.sessions.table import SessionTable
from ttsw.sessions.utterance import Report, Utterance
from ttsw.sessions.voice import CALIBRATION_TEXTS, Level, Voice, load_adaptive_gain, warm_up
from ttsw.types import VoicePack

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
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.readiness = Readiness.STARTING
        self.stats = Stats()
        self._utterance_ends = trio.lowlevel.ParkingLot()
        models, worker = config.model_manager, config.worker
        self.models = ModelManager[Voice](
            find_packs(config),
            self._open_voice,
            resident_cap=models.resident_cap,
            max_parallel_loads=models.max_parallel_loads,
            lifetime=Lifetime(
                models.ttl_ms / 1000,
                models.min_residency_ms / 1000,
                models.evict_check_interval_ms / 1000,
                kept=frozenset({models.default_model_id}),
            ),
        )
        self.sessions = SessionTable(
            self._lend,
            limit=worker.capabilities.max_concurrent_sessions,
            idle_timeout_s=worker.session_idle_timeout_s,
            lead_ms=config.audio.lead_ms,
            most_characters=worker.max_text_chars,
        )

    def __repr__(self) -> str:
        return f"<Worker {self.readiness}, {self.sessions!r}, {self.models!r}>"

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

    async def start_session(self, session_id: str, model_id: str, options: dict[str, str]) -> Session:
        """Start a session; see `SessionTable.start`, and `named` for the model."""
        return await self.sessions.start(session_id, self.named(model_id), options)

    def named(self, model_id: str) -> str:
        """The model that a client means: an empty id is the default model's."""
        return model_id or self.config.model_manager.default_model_id

    def begin(self, session_id: str) -> tuple[Session, Utterance]:
        """Begin an utterance of a session.

        Raises:
            NotFoundError: There is no such session.
            FailedPreconditionError: It is speaking.
            UnavailableError: The worker is draining.
        """
        session = self.sessions[session_id]
        refuse_while(draining=self.sessions.draining)
        return session, session.begin()

    def record(self, session: Session, report: Report) -> None:
        """Take note of an utterance that has ended: one line in the log, and the figures."""
        self.stats.add(report)
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
            **({"error": report.error} if report.error else {}),
        )

    def metrics(self) -> dict[str, float]:
        """The worker's figures by name, as GetCapabilities gives them."""
        hosts = [resident.value.host for resident in self.models.residents.values()]
        return self.stats.metrics() | {
            "active_sessions": float(len(self.sessions)),
            "active_syntheses": float(self.sessions.speaking),
            "queue_depth": float(sum(host.waiting for host in hosts)),
            "device_memory_used_mb": resident_bytes() / MB,
            "device_memory_total_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / MB,
        }

    def _lend(self, model_id: str, fresh: bool) -> AbstractAsyncContextManager[Voice]:
        return self.models.lease(model_id, fresh=fresh)

    async def _open_voice(self, pack: VoicePack) -> Voice:
        engine = self.config.engine(pack.family)
        settings = EngineSettings(threads=engine.threads, concurrency=engine.concurrency)
        adapter = await trio.to_thread.run_sync(
            lambda: adapter_class(pack.family).load(pack, settings), limiter=trio.CapacityLimiter(1)
        )
        host = ThreadHost(adapter)
        try:
            return await self._warm(host, {**pack.options, **engine.options})
        except BaseException:
            await host.close()  # noqa: ASYNC102 - it shields itself, with a deadline
            raise

    async def _warm(self, host: ThreadHost, defaults: dict[str, str]) -> Voice:
        models, audio = self.config.model_manager, self.config.audio
        level = Level(audio.loudness_target_lufs if audio.normalization_enabled else None)
        if not models.warmup_enabled:
            await load_adaptive_gain()
            return Voice(host, level, None, defaults)
        calibration = await warm_up(host, (models.warmup_text, *CALIBRATION_TEXTS), defaults)
        if calibration is not None:
            log.info("voice calibrated", model_id=host.adapter.pack.model_id, loudness_lufs=round(calibration.lufs, 2))
        return Voice(host, level, calibration, defaults)


def find_packs(config: Config) -> Shelf:
    """Read the voice packs that are shipped, and those of the user's folder, which win."""
    own = config.model_manager.voicepacks_dir
    return read_shelf(shipped_dir("voicepacks"), *([own] if own else []))


def resident_bytes() -> int:
    """Memory of this process that is in RAM, bytes."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
