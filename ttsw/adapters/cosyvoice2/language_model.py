"""Text to speech tokens: CosyVoice 2's language model, one step for many utterances at once.

Decides what the model reads before it speaks, and which token comes next: as the library's `Qwen2LM.inference` and its
`ras_sampling` do. The layers are Qwen2's, computed by `ttsw.adapters.pytorch.llama`; who makes steps is the batch's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from ttsw.adapters.pytorch.llama import Layers, Paged

Logits = NDArray[np.float32]

LEAST_RATIO, MOST_RATIO = 2, 20
"""Speech tokens for each token of the text, at least and at most: the library's bounds."""

TRIALS = 100
"""How often the library draws again where it gets the end before it wants one."""

_BEGIN, _TASK = 0, 1
_NEVER = -1e9


@dataclass(frozen=True, slots=True)
class CosyVoiceSampling:
    """How to draw: `ras_sampling` of the library, which avoids what was said just before.

    Args:
        top_p: The likeliest tokens that have this share of the probability together are drawn from,
        top_k: and so many of them at most.
        window: A token that is among so many of the last
        share: in this share of them is drawn anew, from all.
        temperature: What logits are divided by.
    """

    top_p: float = 0.8
    top_k: int = 25
    window: int = 10
    share: float = 0.1
    temperature: float = 1.0


def read_sampling(numbers: Mapping[str, float]) -> CosyVoiceSampling:
    """Take it from the numbers that a model's definition gives, by the library's names."""
    return CosyVoiceSampling(numbers["top_p"], int(numbers["top_k"]), int(numbers["win_size"]), numbers["tau_r"])


def draw(
    logits: Logits, said: Sequence[int], how: CosyVoiceSampling, chance: np.random.Generator, end: int | None
) -> int:
    """Draw a token.

    Args:
        logits: Of each token, shape (tokens,).
        said: Tokens that were drawn before.
        how: The rules.
        chance: Gives a number for each draw.
        end: The token that must not be drawn yet; None where each may be.

    Raises:
        FloatingPointError: The logits aren't numbers.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError("the model's output is not finite")
    shares = _softmax(logits.astype(np.float64) / how.temperature)
    order = np.argsort(-shares, kind="stable")[: max(1, how.top_k)]
    before = np.cumsum(shares[order]) - shares[order]
    best = order[before < how.top_p]
    recent = said[-how.window :]
    for _ in range(TRIALS + 1):
        token = _pick(best, shares[best], chance)
        if recent.count(token) >= how.window * how.share:
            token = _pick(np.arange(len(shares)), shares, chance)
        if token != end:
            return token
    shares[end] = 0  # the library gives up here
    return _pick(np.arange(len(shares)), shares, chance)


class GeneratedTokens:
    """What a step made for an utterance: logits of the next token, shape (tokens,), and positions filled by now."""

    __slots__ = ("length", "logits")

    def __init__(self, logits: Logits, length: int) -> None:
        self.logits, self.length = logits, length


class CosyVoiceUtterance:
    """One part of a text on its way to speech tokens. A row of the batch.

    Args:
        prefix: What the model reads first, shape (length, channels).
        least: Tokens before which it can't end.
        most: Tokens after which it is cut off.
        end: The token that ends it; those above it are the model's own, and are not spoken.
        how: How to draw tokens.
        chance: Decides the draws.
    """

    def __init__(
        self, prefix: Tensor, least: int, most: int, *, end: int, how: CosyVoiceSampling, chance: np.random.Generator
    ) -> None:
        self.prefix, self.least, self.most = prefix, least, most
        self.drawn: list[int] = []
        self.tokens: list[int] = []
        """Of the drawn ones those that are spoken."""
        self.pages: list[int] = []
        self.length = 0
        self.closed = False
        self._end, self._how, self._chance = end, how, chance

    def __repr__(self) -> str:
        return f"<Utterance: {self.count} of at most {self.most} tokens, {len(self.pages)} pages>"

    @property
    def count(self) -> int:
        """How many tokens were drawn."""
        return len(self.drawn)

    @property
    def stopped(self) -> bool:
        """Whether the model has ended it."""
        return self.drawn[-1:] == [self._end]

    @property
    def done(self) -> bool:
        """Whether there will be no more tokens."""
        return self.stopped or self.count >= self.most

    def accept(self, result: GeneratedTokens) -> None:
        """Draw the next token; see `Row.accept`."""
        logits, early = result.logits, self._end if self.count < self.least else None
        if not self.count:  # where the library leaves it out before it draws
            logits = np.where(np.arange(len(logits)) == self._end, np.float32(_NEVER), logits)
        token = draw(logits, self.tokens, self._how, self._chance, early)
        self.length = result.length
        self.drawn.append(token)
        if token < self._end:
            self.tokens.append(token)


class TokenGenerator:
    """Makes steps for utterances.

    Args:
        llm: The library's `Qwen2LM`, loaded, in evaluation mode, on its device.
        positions: How many positions to have pages for from the start; more are added when they are needed.
    """

    def __init__(self, llm: Module, positions: int) -> None:
        self._llm = llm
        text = llm.llm.model.model
        self._words = text.embed_tokens
        self._paged = Paged(Layers(text), positions)
        self.pages = self._paged.pages
        self.device = llm.llm_decoder.weight.device
        self.end = int(llm.speech_token_size)

    @torch.inference_mode()
    def open(
        self,
        prompt: Sequence[int],
        text: Sequence[int],
        spoken: Tensor,
        how: CosyVoiceSampling,
        chance: np.random.Generator,
    ) -> CosyVoiceUtterance:
        """Begin an utterance. To be given to `close` whatever becomes of it.

        Args:
            prompt: Tokens of what is said in the recording, or of how to speak; none for neither.
            text: Tokens of what to say.
            spoken: The recording's speech tokens, shape (n,); none where the model isn't to go on from it.
            how: How to draw tokens.
            chance: Decides the draws.
        """
        llm, marks = self._llm, self._llm.llm_embedding.weight
        words = self._words(torch.tensor([*prompt, *text], dtype=torch.int64, device=self.device))
        prefix = torch.cat([marks[_BEGIN : _BEGIN + 1], words, marks[_TASK : _TASK + 1], llm.speech_embedding(spoken)])
        least, most = (int(len(text) * ratio) for ratio in (LEAST_RATIO, MOST_RATIO))
        return CosyVoiceUtterance(prefix, least, max(1, most), end=self.end, how=how, chance=chance)

    def close(self, utterance: CosyVoiceUtterance) -> None:
        """End an utterance: its pages are free. A step under way may still write to them, but none to come."""
        self._paged.close(utterance)

    @torch.inference_mode()
    def step(self, utterances: Sequence[CosyVoiceUtterance]) -> list[GeneratedTokens | None]:
        """Make a step for each; of those that begin, for one. See `Batch`.

        The first step of an utterance takes as long as its prompt: the others wait for one such at most, each time.
        """
        made: dict[CosyVoiceUtterance, GeneratedTokens] = {}
        begins = next((each for each in utterances if not each.length and not each.closed), None)
        if begins is not None:
            x = self._paged.begin(begins, begins.prefix)
            made[begins] = GeneratedTokens(self._logits(x[-1:])[0], len(begins.prefix))
        under_way = [each for each in utterances if each.length and not each.closed]
        if under_way:
            last = torch.tensor([each.drawn[-1] for each in under_way]).to(self.device)
            logits = self._logits(self._paged.advance(under_way, self._llm.speech_embedding(last)))
            made |= {each: GeneratedTokens(row, each.length + 1) for each, row in zip(under_way, logits, strict=True)}
        return [made.get(each) for each in utterances]

    def _logits(self, x: Tensor) -> Logits:
        logits: Logits = self._llm.llm_decoder(x).float().cpu().numpy()
        return logits


def _pick(tokens: NDArray[np.intp], shares: NDArray[np.float64], chance: np.random.Generator) -> int:
    edges = np.cumsum(shares)
    return int(tokens[min(int(np.searchsorted(edges, chance.random() * edges[-1], "right")), len(tokens) - 1)])


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())
