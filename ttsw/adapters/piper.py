"""The Piper family: VITS voices as ONNX graphs, on ONNX Runtime in this process.

Decides which files are a voice, how its text becomes phonemes and one inference, and what its options mean. How the
graph runs is left to `ttsw.adapters.piper_graph`; segmenting, resampling and loudness to the layers above.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import onnxruntime
from piper import PiperConfig, PiperVoice

from ttsw.adapters.base import EngineSettings, TTSAdapter
from ttsw.errors import UnavailableError
from ttsw.options import Option, OptionValue
from ttsw.types import Samples, VoicePack


class PiperAdapter(TTSAdapter):
    """Speaks with one Piper voice."""

    options: ClassVar[Mapping[str, Option]] = {
        "speed": Option("float", "tempo, 1 is the voice's own", 1.0, 0.25, 4),
        "noise_scale": Option("float", "liveliness of the sound; the voice's own if not given", None, 0, 2),
        "noise_w": Option("float", "liveliness of the rhythm; the voice's own if not given", None, 0, 2),
    }

    def __init__(self, pack: VoicePack, voice: PiperVoice) -> None:
        super().__init__(pack)
        self._voice = voice

    @classmethod
    def load(cls, pack: VoicePack, settings: EngineSettings) -> Self:
        """Load the pack's voice; see `TTSAdapter.load`."""
        model, config = _voice_files(pack)
        parsed = _read_config(config)
        if parsed.sample_rate != pack.sample_rate:
            raise UnavailableError(
                f"voice pack {pack.root}: metadata.yaml says {pack.sample_rate} Hz, {config} says {parsed.sample_rate} Hz"
            )
        threads = settings.threads or 1
        how = onnxruntime.SessionOptions()
        how.intra_op_num_threads, how.inter_op_num_threads = threads, 1
        try:
            session = onnxruntime.InferenceSession(str(model), how, ["CPUExecutionProvider"])
        except Exception as error:
            raise UnavailableError(f"voice pack {pack.root}: {model} is not a usable ONNX model: {error}") from error
        adapter = cls(pack, PiperVoice(session=session, config=parsed))
        adapter.concurrency = settings.concurrency or max(1, (os.cpu_count() or 1) // threads)
        return adapter

    def speak(self, text: str, options: Mapping[str, OptionValue]) -> Iterator[Samples]:
        """Yield the whole segment as one chunk; see `TTSAdapter.speak`."""
        phonemes = [phoneme for sentence in self._voice.phonemize(text) for phoneme in [*sentence, " "]]
        if not phonemes:
            return
        config = self._voice.config
        scales = [
            options.get("noise_scale", config.noise_scale),
            config.length_scale / float(options.get("speed", 1.0)),
            options.get("noise_w", config.noise_w_scale),
        ]
        ids = np.array([self._voice.phonemes_to_ids(phonemes)], np.int64)
        feed: dict[str, Any] = {
            "input": ids,
            "input_lengths": np.array([ids.shape[1]], np.int64),
            "scales": np.array(scales, np.float32),
        }
        if config.num_speakers > 1:
            feed["sid"] = np.array([config.default_speaker_id], np.int64)
        yield self._voice.session.run(None, feed)[0].reshape(-1)


def _voice_files(pack: VoicePack) -> tuple[Path, Path]:
    models = sorted(name for name in pack.files if name.endswith(".onnx"))
    if len(models) != 1:
        raise UnavailableError(
            f"voice pack {pack.root}: a Piper voice has exactly one .onnx file, this pack has {models or 'none'}"
        )
    for name in (f"{models[0]}.json", "config.json"):
        if name in pack.files:
            return pack.files[models[0]], pack.files[name]
    raise UnavailableError(f"voice pack {pack.root}: there is neither {models[0]}.json nor config.json")


def _read_config(path: Path) -> PiperConfig:
    try:
        return PiperConfig.from_dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnavailableError(
            f"{path} is not the configuration of a Piper voice: {type(error).__name__}: {error}"
        ) from error
