"""Whether a voice pack is what it says: its files byte for byte, and a sentence spoken with it."""

from dataclasses import dataclass

import numpy as np
import trio

from ttsw.adapters.hosts.base import Host
from ttsw.audio import measure_lufs, to_mono
from ttsw.cli.ui.progress import open_bar, open_spinner
from ttsw.config import Config
from ttsw.errors import TtswError
from ttsw.packs.checksums import check_sha256, file_sha256
from ttsw.packs.reader import PackError
from ttsw.packs.status import size_text
from ttsw.placement import open_placement
from ttsw.sessions.options import SessionOptions
from ttsw.types import Samples, VoicePack

SENTENCES = {
    "ar": "أهلا وسهلا بكم في هذا المكان.",
    "cs": "Dnes ráno svítí slunce a ptáci zpívají.",
    "de": "Heute morgen scheint die Sonne, und die Vögel singen.",
    "en": "The birch canoe slid on the smooth planks.",
    "es": "Esta mañana brilla el sol y cantan los pájaros.",
    "fr": "Ce matin, le soleil brille et les oiseaux chantent.",
    "it": "Questa mattina splende il sole e cantano gli uccelli.",
    "ja": "今朝は日が照って、鳥が歌っています。",
    "ko": "오늘 아침에는 해가 나고 새가 노래합니다.",
    "nl": "Vanochtend schijnt de zon en de vogels zingen.",
    "pl": "Dziś rano świeci słońce i śpiewają ptaki.",
    "pt": "Hoje de manhã o sol brilha e os pássaros cantam.",
    "ru": "Сегодня утром светит солнце и поют птицы.",
    "tr": "Bu sabah güneş parlıyor ve kuşlar ötüyor.",  # noqa: RUF001 - Turkish
    "zh": "今天早上阳光明媚，鸟儿在歌唱。",  # noqa: RUF001 - Chinese
}
"""What a voice is asked to say, by language; another language says the English."""

SHORTEST_S = 0.3
LONGEST_S = 60.0
"""Between these, s, a sentence's duration is plausible."""
SILENCE_LUFS = -60.0


@dataclass(frozen=True)
class SpeechCheck:
    """How a sentence went.

    Args:
        load_s: The model's loading, s.
        compute_s: The engine's work, s.
        audio_s: The audio's duration, s.
        lufs: Its loudness, LUFS.
    """

    load_s: float
    compute_s: float
    audio_s: float
    lufs: float


def check_files(pack: VoicePack) -> str:
    """Hold a pack's files against the checksums in its metadata.

    Returns:
        What was checked, for a person.

    Raises:
        PackError: A file isn't what the metadata says.
        OSError: A file can't be read.
    """
    sizes = {role: path.stat().st_size for role, path in pack.files.items()}
    total, read = sum(sizes[role] for role in pack.checksums), 0
    with open_bar(f"reading {pack.model_id}", total) as show:

        def advance(size: int) -> None:
            nonlocal read
            read += size
            show(read, total)

        for role in pack.checksums:
            check_sha256(pack, role, file_sha256(pack.files[role], advance))
    if not sizes:
        return "no files"
    plural = "s" * (len(sizes) > 1)
    held = f"{len(pack.checksums)} with the right checksum" if pack.checksums else "no checksums to hold them against"
    return f"{len(sizes)} file{plural}, {size_text(sum(sizes.values()))}, {held}"


def check_speech(pack: VoicePack, base: VoicePack | None = None) -> str:
    """Load a pack's model, and speak a sentence with it.

    Returns:
        How that went, for a person.

    Raises:
        TtswError: It can't be loaded, or doesn't speak as it should.
    """
    with open_spinner(f"loading {pack.model_id}, and speaking a sentence …"):
        spoken = trio.run(speak_once, pack, base)
    return (
        f"loaded in {spoken.load_s:.1f} s, {spoken.audio_s:.2f} s of audio at {pack.sample_rate} Hz, "
        f"RTF {spoken.compute_s / spoken.audio_s:.3f}, {spoken.lufs:.1f} LUFS"
    )


async def speak_once(pack: VoicePack, base: VoicePack | None = None) -> SpeechCheck:
    """Speak a sentence with a pack's model, on the one that it is based on, if it does.

    Raises:
        TtswError: As from `check_speech`.
    """
    async with open_placement(Config()) as placement:
        started = trio.current_time()
        async with placement.open_host(pack, base) as host:
            return await _speak(host, trio.current_time() - started)


async def _speak(host: Host, load_s: float) -> SpeechCheck:
    pack, rate = host.model.pack, host.model.sample_rate
    if rate != pack.sample_rate:
        raise PackError(
            f"voice pack {pack.root}: its model speaks at {rate} Hz, and {pack.sample_rate} in the metadata"
        )
    options = SessionOptions.parse({}, host.model.options, defaults=pack.options, languages=pack.languages)
    chunks: list[Samples] = []
    compute_s = 0.0

    async def keep(chunk: Samples, step_s: float) -> None:
        nonlocal compute_s
        await trio.lowlevel.checkpoint()
        compute_s += step_s
        chunks.append(chunk)
        if sum(map(len, chunks)) > LONGEST_S * rate:
            raise PackError(f"voice pack {pack.root}: its model makes more than {LONGEST_S:g} s of audio of a sentence")

    language = (pack.languages or ("en",))[0].partition("-")[0]
    await host.speak(SENTENCES.get(language, SENTENCES["en"]), options.engine, to_mono, keep)
    audio = np.concatenate([*chunks, np.empty(0, np.float32)])
    if len(audio) < SHORTEST_S * rate:
        raise PackError(f"voice pack {pack.root}: its model makes {len(audio) / rate:.2f} s of audio of a sentence")
    lufs = measure_lufs(audio, rate)
    if not lufs > SILENCE_LUFS:
        raise PackError(f"voice pack {pack.root}: its model is silent: {lufs:.1f} LUFS")
    return SpeechCheck(load_s, compute_s, len(audio) / rate, lufs)


def check_pack(pack: VoicePack, base: VoicePack | None = None, *, load: bool) -> tuple[bool, str]:
    """Check a pack's files and, where asked, its speech: whether it is good, and a sentence that says so."""
    try:
        said = check_files(pack)
        return True, f"good: {said}" + (f"; {check_speech(pack, base)}" if load else "")
    except (TtswError, OSError) as error:
        return False, f"broken: {error}"
