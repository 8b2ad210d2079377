"""Finding the recording that `reference_audio` names: one of the pack's, or a registered clip, never another file.

A recording's transcript is a text file with the same name and the ending `.txt`.
"""

import re
from pathlib import Path

from ttsw.errors import InvalidArgumentError, NotFoundError
from ttsw.system.machine import cannot_read
from ttsw.types import VoicePack

SEED = "seed.wav"
"""Role of a pack's default reference recording."""

SHOWN = 10
LONGEST = 256
"""Longest name, characters."""

MOST_BYTES = 64_000_000
"""Largest recording, bytes: a minute of 96 kHz stereo at 24 bits takes 35 MB. Weights are larger."""

MOST_TRANSCRIPT = 4096
"""Longest transcript, bytes."""

_CLIP = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def find_recording(named: str | None, pack: VoicePack, clips: Path | None) -> Path:
    """Return the path of a recording.

    Args:
        named: A role in the pack, the path of a file within the pack, or the name of a registered clip; None for the
            pack's default recording.
        pack: The model's pack.
        clips: Folder of registered clips, `<name>.wav`; None if there is none.

    Raises:
        InvalidArgumentError: The name leads out of the pack or to a file too large for a recording, or is missing and
            the pack has no default.
        UnavailableError: The system denies access to it.
        NotFoundError: No such recording exists; the message lists the existing ones.
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
    """Return the transcript of a recording, if it has one.

    Raises:
        InvalidArgumentError: The file isn't UTF-8 text, or is too long.
        UnavailableError: The system denies access to it.
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
    except (ValueError, OSError, RuntimeError):  # a null character, a name too long, circular links
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
