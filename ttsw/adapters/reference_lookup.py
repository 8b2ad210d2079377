"""Which recording `reference_audio` means: one of the pack's, or one that a user has registered; never another file.

What is said in a recording stands beside it, under its name with the ending `.txt`.
"""

import re
from pathlib import Path

from ttsw.errors import InvalidArgumentError, NotFoundError
from ttsw.system.machine import cannot_read
from ttsw.types import VoicePack

SEED = "seed.wav"
"""The role of the recording that a pack speaks like by itself."""

SHOWN = 10
LONGEST = 256
"""Characters of a name that may be one."""

MOST_BYTES = 64_000_000
"""Largest recording: a minute takes 35 MB at 96 kHz, in stereo and 24 bits. A pack's weights are larger."""

MOST_TRANSCRIPT = 4096
"""Bytes of what is said in a recording."""

_CLIP = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def find_recording(named: str | None, pack: VoicePack, clips: Path | None) -> Path:
    """Find a recording.

    Args:
        named: A role of the pack's files, the path of a file within the pack, or the name of a registered clip; None
            for what the pack speaks like by itself.
        pack: The model's pack.
        clips: Folder of the registered clips, `<name>.wav`; None where there is none.

    Raises:
        InvalidArgumentError: The name leads out of the pack, or to what is too large for a recording; or none is given
            and the pack has no recording.
        UnavailableError: The system doesn't let us look at it.
        NotFoundError: There is no such recording; the text lists those that there are.
    """
    path = _find(named, pack, clips)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise cannot_read(path, error) from error
    if size > MOST_BYTES:
        raise InvalidArgumentError(
            f"{path.name} has {size / 1e6:.0f} MB, which is too much for a recording; at most {MOST_BYTES / 1e6:.0f} "
            f"MB are possible, for 6 to 30 s of clear speech"
        )
    return path


def _find(named: str | None, pack: VoicePack, clips: Path | None) -> Path:
    if named is None:
        if SEED in pack.files:
            return pack.files[SEED]
        raise InvalidArgumentError(
            f"model {pack.model_id} has no voice of its own: give reference_audio; {_there_are(pack, clips)}"
        )
    if named in pack.files:
        return pack.files[named]
    path = _within(named, pack.root)
    if len(named) < LONGEST and path.is_file():
        return path
    if clips is not None and _CLIP.fullmatch(named) and (clip := clips / f"{named}.wav").is_file():
        return clip
    raise NotFoundError(f"there is no recording {named[:80]!r}; {_there_are(pack, clips)}")


def find_transcript(recording: Path) -> str | None:
    """Give what is said in a recording, where somebody has written it beside it.

    Raises:
        InvalidArgumentError: The file is no text, or too long for one.
        UnavailableError: The system doesn't let us read it.
    """
    path = recording.with_suffix(".txt")
    try:
        with path.open("rb") as file:
            text = file.read(MOST_TRANSCRIPT + 1).decode("utf-8-sig").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot_read(path, error) from error
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path} can't be read as a text in UTF-8: {error}") from error
    if len(text) > MOST_TRANSCRIPT:
        raise InvalidArgumentError(f"{path} is longer than a transcript of a recording: {MOST_TRANSCRIPT} bytes")
    return " ".join(text.split()) or None


def _within(named: str, root: Path) -> Path:
    path = Path(named)
    try:
        inside = not path.is_absolute() and ".." not in path.parts
        found = (root / path).resolve()
    except (ValueError, OSError, RuntimeError):  # a null character, a name too long, links in a circle
        inside, found = False, root
    if not (inside and found.is_relative_to(root.resolve())):
        raise InvalidArgumentError(
            f"reference_audio={named[:80]!r} is not valid: it must be the name of a registered clip, or a file within "
            f"the voice pack"
        )
    return found


def _there_are(pack: VoicePack, clips: Path | None) -> str:
    names = sorted(name for name in pack.files if name.endswith(".wav"))
    names += sorted(path.stem for path in clips.glob("*.wav")) if clips is not None else []
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"there are: {', '.join(names[:SHOWN]) or 'none'}{more} (ttsw voices clone NAME FILE registers one)"
