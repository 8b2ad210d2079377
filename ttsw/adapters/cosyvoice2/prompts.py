"""What the model is shown before a text: whom to sound like, and what to go on from.

Decides what options mean for that: a recording whose words are known is gone on from (zero-shot), of another only the
voice is taken (cross-lingual), and what says how to speak stands in the place of a recording's words.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ttsw.adapters.cosyvoice2.reference_voice import CosyVoiceReference, KnownSpeaker
from ttsw.adapters.cosyvoice2.text import CosyVoiceTextReader
from ttsw.adapters.pytorch.voice_cache import VoiceCache
from ttsw.adapters.reference_lookup import find_recording, find_transcript
from ttsw.errors import InvalidArgumentError
from ttsw.options import OptionValue
from ttsw.types import VoicePack

MOST_INSTRUCTION, MOST_TRANSCRIPT = 300, 1000
"""Characters of `instruct` and of `reference_text`."""


class TextPrompt(NamedTuple):
    """What the model is shown before a text.

    Args:
        voice: Whom to sound like.
        words: Tokens of what is said in the recording, or of how to speak.
        spoken: The recording's speech tokens, where the model is to go on from it.
    """

    voice: CosyVoiceReference
    words: list[int]
    spoken: Tensor


class PromptBuilder:
    """Finds prompts.

    Args:
        pack: The model's pack.
        reader: Reads texts.
        voices: The voices of recordings.
        speakers: The speakers that the pack brings, by name.
        clips: Folder of the registered clips; None where there is none.
    """

    def __init__(
        self,
        pack: VoicePack,
        reader: CosyVoiceTextReader,
        voices: VoiceCache[CosyVoiceReference],
        speakers: Mapping[str, KnownSpeaker],
        clips: Path | None,
    ) -> None:
        self._pack, self._reader, self._clips = pack, reader, clips
        self._voices, self._speakers = voices, speakers

    def find(self, options: Mapping[str, OptionValue], language: str) -> TextPrompt:
        """Decide what the model is shown, as the library's `frontend_zero_shot` and its siblings do.

        Raises:
            InvalidArgumentError: No voice can be cloned from the recording, what is said in it isn't known and must be,
                or options exclude each other.
            NotFoundError: There is no such recording.
            trio.Cancelled: The task that this thread works for was cancelled.
        """
        instruct, mode = options.get("instruct"), options.get("mode")
        _check_length("instruct", instruct, MOST_INSTRUCTION)
        _check_length("reference_text", options.get("reference_text"), MOST_TRANSCRIPT)
        if instruct is not None and mode == "zero_shot":
            raise InvalidArgumentError(
                "options instruct and mode=zero_shot exclude each other: told how to speak, the model doesn't go on "
                "from a recording; leave one of them out"
            )
        if options.get("speaker") is not None:
            voice, words = self._known(options)
        else:
            voice, words = self._recorded(options, language)
        nothing = voice.tokens[:0]
        if instruct is not None:
            return TextPrompt(voice, self._reader.read_instruction(str(instruct)), nothing)
        return TextPrompt(voice, words, voice.tokens) if words else TextPrompt(voice, [], nothing)

    def _known(self, options: Mapping[str, OptionValue]) -> tuple[CosyVoiceReference, list[int]]:
        """Give a speaker of the pack, and the tokens of what is said in its recording, where they are to be used."""
        if options.get("reference_audio") is not None:
            raise InvalidArgumentError("options speaker and reference_audio both name a voice; give one of them")
        name, mode = str(options["speaker"]), options.get("mode")
        voice, words = self._speakers[name]
        _check_words(words, mode, f"speaker {name}")
        return voice, [] if mode == "cross_lingual" else list(words)

    def _recorded(self, options: Mapping[str, OptionValue], language: str) -> tuple[CosyVoiceReference, list[int]]:
        """Give the voice of a recording, and the tokens of what is said in it, where they are to be used."""
        named, mode, text = options.get("reference_audio"), options.get("mode"), options.get("reference_text")
        path = find_recording(None if named is None else str(named), self._pack, self._clips)
        words: list[int] = []
        if mode != "cross_lingual" and options.get("instruct") is None:
            said = find_transcript(path) if text is None else str(text)
            words = self._reader.read_prompt(said, language) if said else []
            _check_words(words, mode, str(path))
        return self._voices.get(path), words


def _check_words(words: list[int] | tuple[int, ...], mode: object, whose: str) -> None:
    if mode == "zero_shot" and not words:
        raise InvalidArgumentError(
            f"mode=zero_shot needs its transcript: what is said in {whose} is not known; give reference_text, write it "
            f"into a .txt beside the recording, or use mode=cross_lingual"
        )


def _check_length(name: str, value: OptionValue | None, most: int) -> None:
    if value is not None and not 0 < len(str(value).strip()) <= most:
        raise InvalidArgumentError(f"option {name} has {len(str(value))} characters, and must have 1 to {most}")
