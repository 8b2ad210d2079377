"""Text is cut where it is too long, and read as the library reads it."""

import pytest
from tokenizers import processors
from transformers import EncodecFeatureExtractor, PreTrainedTokenizerFast
from transformers.models.csm.processing_csm import CsmProcessor

from ttsw.adapters.pytorch.splitting import split
from ttsw.adapters.sesame.files import BEGIN, END, read_tokenizer
from ttsw.adapters.sesame.text import LEAST_S, MOST_CHARACTERS, PER_LETTER_S, CsmTextReader


@pytest.mark.parametrize("words", ["Hello there.", "Größe, naïve — “so”!", "[1]two [2]three", "12 %"])
@pytest.mark.parametrize("speaker", [0, 3])
def test_it_is_read_as_the_librarys_processor_reads_it(pack, model, reader, words, speaker):
    tokenizer = read_tokenizer(pack.files["tokenizer.json"], model.config)
    tokenizer.encode_special_tokens = False
    begin, end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}", special_tokens=[(BEGIN, begin), (END, end)]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, pad_token=END)
    processor = CsmProcessor(EncodecFeatureExtractor(sampling_rate=24_000), fast)
    wanted = processor(f"[{speaker}]{words}", add_special_tokens=True)["input_ids"][0].tolist()
    assert list(reader.encode(words, speaker)) == wanted
    assert [part.tokens for part in reader.read(words, speaker)] == [tuple(wanted)]


@pytest.mark.parametrize("mark", [BEGIN, END, "<|AUDIO|>", "<|audio_eos|>"])
def test_what_is_written_like_a_mark_is_text(reader, mark):
    tokens = reader.encode(f"One {mark} two.", 0)
    assert all(token < 256 for token in tokens[1:-1])
    assert len(tokens) == 2 + len(f"[0]One {mark} two.")


@pytest.mark.parametrize("words", ["", "...", "\U0001f600", "—", " \n"])
def test_what_cannot_be_spoken_is_nothing(reader, words):
    assert [*reader.read(words, 0)] == []


def test_a_part_has_a_bound_by_its_letters(reader):
    (part,) = reader.read("Hello there.", 0)
    assert part.most_s == LEAST_S + 12 * PER_LETTER_S


def test_long_text_is_cut_at_sentences(reader):
    text = "The birch canoe slid on the smooth planks, as ever. " * 20
    parts = [*reader.read(text, 0)]
    assert len(parts) == 4
    assert all(len(part.tokens) <= MOST_CHARACTERS + 5 for part in parts)
    assert all(part.tokens[-2] == ord(".") - ord("!") for part in parts)


def test_what_has_too_many_tokens_is_cut_further(pack, model):
    few = CsmTextReader(read_tokenizer(pack.files["tokenizer.json"], model.config), 20)
    parts = [*few.read("One two three four five six seven. " * 3, 0)]
    assert len(parts) > 5
    assert all(len(part.tokens) <= 20 for part in parts)
    (part,) = CsmTextReader(read_tokenizer(pack.files["tokenizer.json"], model.config), 3).read("a", 0)
    assert len(part.tokens) == 3


@pytest.mark.parametrize(
    ("text", "most", "wanted"),
    [
        ("One. Two.", 20, ["One. Two."]),
        ("One two. Three", 10, ["One two.", "Three"]),
        ("One two three", 9, ["One two", "three"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("  ", 3, []),
    ],
)
def test_places_to_cut(text, most, wanted):
    assert [*split(text, most)] == wanted
