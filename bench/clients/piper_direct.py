"""piper-tts called directly, no server: `python -m bench.clients.piper_direct MODEL STREAMS THREADS`.

A round is a JSON object: STREAMS threads share its `texts`, on one loaded voice; with `first_only`, each is left at its
first chunk. THREADS is ONNX Runtime's number for
one inference; 0 leaves it to piper's own `PiperVoice.load`. Told for each text: when its first chunk was there, when
its last, and how much audio they held.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import onnxruntime
from piper import PiperConfig, PiperVoice

from bench.clients.sessions import rounds, tell


def load(model: Path, threads: int) -> PiperVoice:
    """Load the voice."""
    if not threads:
        return PiperVoice.load(model)
    how = onnxruntime.SessionOptions()
    how.intra_op_num_threads, how.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(model), how, ["CPUExecutionProvider"])
    config = PiperConfig.from_dict(json.loads(Path(f"{model}.json").read_text("utf-8")))
    return PiperVoice(session=session, config=config)


def speak(voice: PiperVoice, text: str, *, first_only: bool) -> dict[str, float]:
    """Speak one text."""
    began, first_s, audio_s = monotonic(), 0.0, 0.0
    for chunk in voice.synthesize(text):
        first_s = first_s or monotonic() - began
        audio_s += len(chunk.audio_float_array) / chunk.sample_rate
        if first_only:
            break
    return {"first_s": first_s, "audio_s": audio_s}


def main() -> None:
    """Load the voice; then rounds."""
    model, streams, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    voice = load(model, threads)
    with ThreadPoolExecutor(streams) as pool:
        for line in rounds():
            order = json.loads(line)
            began = monotonic()
            work = [pool.submit(speak, voice, text, first_only=order["first_only"]) for text in order["texts"]]
            spoken = [one.result() for one in work]
            tell({"wall_s": monotonic() - began, "texts": spoken})


if __name__ == "__main__":
    main()
