"""How a voice gets into memory and ready: which device, which engine settings, warm-up, loudness."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import structlog

from ttsw.adapters.hosts.base import Host
from ttsw.audio import AdaptiveGain, Calibration, load_meter
from ttsw.concurrency.threads import Lane, run_in
from ttsw.config import Config
from ttsw.errors import InvalidArgumentError, UnavailableError
from ttsw.models.measurements import MeasurementStore, ModelRecord
from ttsw.placement import Placement
from ttsw.sessions.calibration_record import NOTE, from_note, to_note
from ttsw.sessions.options import SessionOptions
from ttsw.sessions.voice import CALIBRATION_TEXTS, LoudnessTarget, Voice, calibrate_voice, no_relief, warm_up
from ttsw.system.heap import trim_memory
from ttsw.types import VoicePack

log = structlog.get_logger(__name__)

Relieve = Callable[[str], Awaitable[bool]]


class VoiceLoader:
    """Loads voices as a configuration says.

    Args:
        config: The configuration.
        hosting: Opens their hosts.
        book: Where a voice's calibration is kept.
        relieve: Makes room for a model that runs out of memory while it speaks.
    """

    def __init__(
        self, config: Config, hosting: Placement, book: MeasurementStore, relieve: Relieve = no_relief
    ) -> None:
        self._config, self._hosting, self._book, self._relieve = config, hosting, book, relieve
        self._damaged: set[str] = set()

    def places(self, pack: VoicePack) -> Sequence[str]:
        """Name the devices for a pack, the best first.

        What is to run in this process is imported here, and may take its time: the memory of it is not the model's.

        Raises:
            NotFoundError: No installed package brings the family.
            UnavailableError: What it is based on isn't installed, or there is no device for it.
        """
        places = self._hosting.places(pack)
        if self._known(pack, self._book[pack.model_id]) is None:
            load_meter()
            AdaptiveGain(pack.sample_rate)
        return places

    async def __call__(
        self, pack: VoicePack, record: ModelRecord, device: str, loaded: Callable[[], None], base: Voice | None = None
    ) -> Voice:
        """Load a voice and warm it up; see `ttsw.models.source.ModelSource.open`."""
        host = await (self._hosting.open(pack, device) if base is None else base.host.attach(pack))
        try:
            loaded()
            defaults = self._defaults(pack)
            check_defaults(host, defaults)
            calibration = await self._warm(host, record, defaults)
            await run_in(Lane.MEASURING, trim_memory)
        except BaseException:
            await host.close()  # noqa: ASYNC102 - it shields itself, with a deadline
            raise
        audio = self._config.audio
        level = LoudnessTarget(audio.loudness_target_lufs if audio.normalization_enabled else None)
        return Voice(host, level, calibration, defaults, partial(self._relieve, pack.model_id))

    async def _warm(self, host: Host, record: ModelRecord, defaults: dict[str, str]) -> Calibration | None:
        """Speak to nobody, and know how loud the voice is: from its record, or by measuring."""
        models = self._config.model_manager
        known = self._known(host.model.pack, record)
        if known is None and models.warmup_enabled:
            return await self._calibrate(host, defaults)
        if models.warmup_enabled:
            await warm_up(host, (models.warmup_text,), defaults)
        return known

    async def calibrate(self, pack: VoicePack, base: VoicePack | None = None) -> Calibration | None:
        """Load a voice, measure how loud it is, keep that for workers to come, and unload it.

        Args:
            pack: The voice.
            base: The model that it is based on, if it does.

        Returns:
            None where it says too little to be measured.

        Raises:
            TtswError: It can't be loaded.
        """
        await run_in(Lane.RECORDS, self._book.check, pack)
        async with self._hosting.lend(pack, base) as host:
            check_defaults(host, self._defaults(pack))
            return await self._calibrate(host, self._defaults(pack))

    async def _calibrate(self, host: Host, defaults: dict[str, str]) -> Calibration | None:
        model_id = host.model.pack.model_id
        texts = (self._config.model_manager.warmup_text, *CALIBRATION_TEXTS)
        calibration = await calibrate_voice(host, texts, defaults)
        if calibration is not None:
            log.info("voice calibrated", model_id=model_id, loudness_lufs=round(calibration.lufs, 2))
            note = to_note(calibration, defaults)
            await run_in(Lane.RECORDS, self._book.keep_note, model_id, NOTE, note)
        return calibration

    def _known(self, pack: VoicePack, record: ModelRecord) -> Calibration | None:
        """Read a remembered calibration; None where the voice has to be measured (again). Damage is told of once."""
        try:
            return from_note(record.notes.get(NOTE), self._defaults(pack))
        except ValueError as error:
            if pack.model_id not in self._damaged:
                log.warning("remembered calibration unusable", model_id=pack.model_id, error=str(error))
            self._damaged.add(pack.model_id)
            return None

    def _defaults(self, pack: VoicePack) -> dict[str, str]:
        return {**pack.options, **self._config.engine(pack.family).options}


def check_defaults(host: Host, defaults: Mapping[str, str]) -> None:
    """See that sessions can be opened with the options that hold where a session gives none.

    Raises:
        UnavailableError: An option is unknown to the model, or its value isn't valid.
    """
    pack = host.model.pack
    try:
        SessionOptions.parse({}, host.model.options, defaults=defaults, languages=pack.languages)
    except InvalidArgumentError as error:
        raise UnavailableError(
            f"{error} (it stands under `options` in the metadata of voice pack {pack.root}, or in the configuration "
            f"under engines.{pack.family}.options)"
        ) from error
