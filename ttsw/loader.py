"""Voice loader: opens a model's host, warms it up, and measures its loudness once."""

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
    """Loads voices as configured.

    Args:
        config: The configuration.
        placement: Chooses devices and opens hosts.
        measurements: Where calibrations are saved.
        relieve: Frees memory for a model that runs out of it while speaking.
    """

    def __init__(
        self, config: Config, placement: Placement, measurements: MeasurementStore, relieve: Relieve = no_relief
    ) -> None:
        self._config, self._placement, self._measurements = config, placement, measurements
        self._relieve = relieve
        self._damaged: set[str] = set()

    def devices_for(self, pack: VoicePack) -> Sequence[str]:
        """Return the devices that can hold a voice, the best one first.

        Libraries that will run in this process are imported here, so that their memory isn't counted as the model's.
        That can take seconds.

        Raises:
            NotFoundError: No installed package provides the family.
            UnavailableError: A library of the family isn't installed, or no device can hold the voice.
        """
        devices = self._placement.devices_for(pack)
        if self._known(pack, self._measurements[pack.model_id]) is None:
            load_meter()
            AdaptiveGain(pack.sample_rate)
        return devices

    async def load(
        self, pack: VoicePack, record: ModelRecord, device: str, loaded: Callable[[], None], base: Voice | None = None
    ) -> Voice:
        """Load a voice and warm it up; see `ttsw.models.source.ModelSource.open`."""
        host = await (self._placement.start_host(pack, device) if base is None else base.host.attach(pack))
        try:
            loaded()
            defaults = self._defaults(pack)
            check_defaults(host, defaults)
            calibration = await self._warm_up(host, record, defaults)
            await run_in(Lane.MEASURING, trim_memory)
        except BaseException:
            await host.close()  # noqa: ASYNC102 - it shields itself, with a deadline
            raise
        audio = self._config.audio
        target = LoudnessTarget(audio.loudness_target_lufs if audio.normalization_enabled else None)
        return Voice(host, target, calibration, defaults, partial(self._relieve, pack.model_id))

    async def _warm_up(self, host: Host, record: ModelRecord, defaults: dict[str, str]) -> Calibration | None:
        """Speak the warm-up text, and return the voice's calibration: the saved one, or a new measurement."""
        models = self._config.model_manager
        known = self._known(host.model.pack, record)
        if known is None and models.warmup_enabled:
            return await self._calibrate(host, defaults)
        if models.warmup_enabled:
            await warm_up(host, (models.warmup_text,), defaults)
        return known

    async def calibrate(self, pack: VoicePack, base: VoicePack | None = None) -> Calibration | None:
        """Load a voice, measure and save its loudness, and unload it.

        Args:
            pack: The voice.
            base: The model that the voice is based on, if any.

        Returns:
            None if the calibration texts yield too little speech to measure.

        Raises:
            TtswError: The voice can't be loaded.
        """
        await run_in(Lane.RECORDS, self._measurements.check, pack)
        async with self._placement.open_host(pack, base) as host:
            check_defaults(host, self._defaults(pack))
            return await self._calibrate(host, self._defaults(pack))

    async def _calibrate(self, host: Host, defaults: dict[str, str]) -> Calibration | None:
        model_id = host.model.pack.model_id
        texts = (self._config.model_manager.warmup_text, *CALIBRATION_TEXTS)
        calibration = await calibrate_voice(host, texts, defaults)
        if calibration is not None:
            log.info("voice calibrated", model_id=model_id, loudness_lufs=round(calibration.lufs, 2))
            note = to_note(calibration, defaults)
            await run_in(Lane.RECORDS, self._measurements.keep_note, model_id, NOTE, note)
        return calibration

    def _known(self, pack: VoicePack, record: ModelRecord) -> Calibration | None:
        """Return a saved calibration; None if the voice must be measured. Warn once of a damaged one."""
        try:
            return from_note(record.notes.get(NOTE), self._defaults(pack))
        except ValueError as error:
            if pack.model_id not in self._damaged:
                log.warning("saved calibration unusable", model_id=pack.model_id, error=str(error))
            self._damaged.add(pack.model_id)
            return None

    def _defaults(self, pack: VoicePack) -> dict[str, str]:
        return {**pack.options, **self._config.engine(pack.family).options}


def check_defaults(host: Host, defaults: Mapping[str, str]) -> None:
    """Check that a session can start with the model's default options.

    Raises:
        UnavailableError: An option is unknown to the model, or its value isn't valid.
    """
    pack = host.model.pack
    try:
        SessionOptions.parse({}, host.model.options, defaults=defaults, languages=pack.languages)
    except InvalidArgumentError as error:
        raise UnavailableError(
            f"{error} (set under `options` in the metadata of voice pack {pack.root}, or in the configuration under "
            f"engines.{pack.family}.options)"
        ) from error
