"""English to phonemes by hibari's reader, without its weaknesses: its time, its memory, the texts that it fails at."""

import gzip
import json
import re
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

import numpy as np
from hibari.g2p import ASSETS, G2P
from hibari.g2p.lexicon import Lexicon
from hibari.g2p.oov import OOV
from hibari.g2p.tagger import Tagger
from hibari.g2p.tokenize import Tokenizer

from ttsw.adapters.memory import is_out_of_memory
from ttsw.adapters.onnx.session import open_session

LONGEST_WORD = 45
"""Characters without a space that are read at once: the longest word of the dictionary. The library takes time with the
cube of what it finds between two spaces: 3 s for 250 characters of "a/a/a/…", in such pieces 0.2 s."""

_DECODER = json.JSONDecoder()
_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_ENTRY = re.compile(rb"(%b):(%b|\{[^{}]*\})" % (_TEXT, _TEXT))
_LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")
_WORD_PART = re.compile(rf"\S{{1,{LONGEST_WORD - 1}}}[^\w\s]|\S{{1,{LONGEST_WORD}}}")


class EnglishReader:
    """Text to phonemes, in American or British English. Keeps nothing of what it reads, so threads may share it."""

    def __init__(self, *, british: bool) -> None:
        self._g2p = _English(british=british)

    def read(self, text: str) -> str:
        """Return the phonemes of a text, in the alphabet of the voices' tables; what can't be read is left out."""
        return self._read(_LONG_WORD.sub(lambda word: " ".join(_WORD_PART.findall(word[0])), text))

    def _read(self, text: str) -> str:
        """Where the library fails (at "①a", at numbers of 37 digits), go on with the words, then with characters."""
        try:
            return str(self._g2p(text))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            words = text.split()
            parts = words if len(words) > 1 else [*text.strip()]
            return " ".join(filter(None, map(self._read, parts))) if len(parts) > 1 else ""


class _English(G2P):  # type: ignore[misc]  # the library has no types
    """The library's reader over tables of our kind, in place of what its own `__init__` loads."""

    def __init__(self, *, british: bool) -> None:
        region, suffix = ("gb", "_gb") if british else ("us", "")
        gold, silver = (Table(_asset(f"lexicon_{region}_{kind}.json.gz")) for kind in ("gold", "silver"))
        self.lexicon = Lexicon(gold, silver, british)
        self.tokenizer = Tokenizer(json.loads(_asset("tokenizer_exceptions.json")))
        small, weights = _asset("tagger.json.gz").split(b',"weights":')
        self.tagger = Tagger(json.loads(small + b"}") | {"weights": Table(weights)})
        self.british = british
        self.unk = ""
        self._oov = _UnknownWords(Path(ASSETS, f"oov{suffix}.onnx"))


class _UnknownWords:
    """Reads words that no dictionary has, of any length; the library's net by itself drops what follows 24 letters."""

    def __init__(self, path: Path) -> None:
        self._net = OOV(str(path), open_session(path, threads=1))

    def __call__(self, word: str) -> str:
        most = self._net.maxlen
        return "".join(self._net(word[at : at + most]) or "" for at in range(0, len(word), most))


class Table:
    """A large JSON object of small values, which stays the text that it is, with an index.

    As Python's objects the library's three take 70 MB more. The interpreter gives back only a part of that, and while
    `json` makes them, no other thread runs for 150 ms. Here a look-up takes 2 µs, so 80 characters 1.2 ms more.

    >>> table = Table('{"key":"ˈɑɪŋ","other":{"NN":1}}'.encode())
    >>> table.get("key"), table.get("other"), table.get("none")
    ('ˈɑɪŋ', {'NN': 1}, None)
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        places = (place for entry in _ENTRY.finditer(text) for place in (hash(entry[1]), entry.start()))
        index = np.fromiter(places, np.int64).reshape(-1, 2)
        self._hashes, self._starts = np.ascontiguousarray(index[index[:, 0].argsort()].T)

    def get(self, key: str) -> str | dict[str, Any] | None:
        """Return the value of `key`, or None."""
        name = encode_basestring(key).encode(errors="replace")
        at = self._hashes.searchsorted(hash(name))
        entry = _ENTRY.match(self._text, self._starts[at]) if at < len(self._starts) else None
        if entry is None or entry[1] != name:
            return None
        value: str | dict[str, Any] = _DECODER.raw_decode(entry[2].decode())[0]
        return value


def _asset(name: str) -> bytes:
    data = Path(ASSETS, name).read_bytes()
    return gzip.decompress(data) if name.endswith(".gz") else data
