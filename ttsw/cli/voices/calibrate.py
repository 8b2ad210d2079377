"""`ttsw voices calibrate`: measure how loud a voice is, and keep it for the workers to come."""

from pathlib import Path
from typing import Annotated

import trio
import typer
from rich.markup import escape

from ttsw.audio import Calibration
from ttsw.cli.configure import configure
from ttsw.cli.ui.console import out
from ttsw.cli.ui.progress import open_spinner
from ttsw.config import Config
from ttsw.errors import FailedPreconditionError
from ttsw.loader import VoiceLoader
from ttsw.models.measurements import open_measurements
from ttsw.packs.catalogue import find_packs
from ttsw.placement import open_placement
from ttsw.types import VoicePack


async def calibrate_pack(config: Config, pack: VoicePack, base: VoicePack | None = None) -> Calibration | None:
    """Measure how loud a voice is, and keep it; see `VoiceLoader.calibrate`."""
    async with open_placement(config) as placement:
        return await VoiceLoader(config, placement, open_measurements(config)).calibrate(pack, base)


def calibrate(
    model_ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Packs.")],
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file (YAML).")] = None,
) -> None:
    """Measure how loud voices are, and keep it: a worker does so when it first loads a voice, and not again."""
    settings = configure(config, None, None)
    shelf = find_packs(settings)
    target = settings.audio.loudness_target_lufs
    for model_id in model_ids:
        with open_spinner(f"{model_id}: loading, and speaking some sentences …"):
            calibration = trio.run(calibrate_pack, settings, shelf[model_id], shelf.base(shelf[model_id]))
        if calibration is None:
            raise FailedPreconditionError(f"{model_id} said too little to be measured: it takes 3 s of speech")
        out.print(
            f"{escape(model_id)}: {calibration.lufs:.1f} LUFS over {calibration.speech_s:.1f} s of speech; "
            f"{calibration.gain(target).gain_db:+.1f} dB bring it to {target:g} LUFS",
            soft_wrap=True,
        )
