"""The transformer that turns text into audio tokens, one step for many utterances at once.

Decides what a step computes: parameters are the library's (`TTS.tts.layers.xtts.gpt.GPT`, a GPT-2 before whose text
stand the voice's latents), arithmetic is here, since the library's own loop knows one utterance only. What each
utterance has seen is kept in pages (`ttsw.adapters.pytorch.kv_cache`), so that utterances of any length, come and gone
at any time, share a step: each attends to its own pages through a table. Who makes steps when is the batch's.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from torch import Tensor
from torch.nn import Module

from ttsw.adapters.pytorch.kv_cache import PAGE, KvCache
from ttsw.adapters.pytorch.sampling import Logits, SamplingOptions, draw

FILLER = 1
"""The token that the library takes the text to be made of when it penalises repetitions."""


class GeneratedLatents(NamedTuple):
    """What a step made for an utterance.

    Args:
        latent: What the vocoder speaks, shape (1, channels).
        logits: How likely each token is to be the next, shape (tokens,).
        length: Positions that the utterance has filled by now.
    """

    latent: Tensor
    logits: Logits
    length: int


class XttsUtterance:
    """One part of a text on its way to audio tokens. A row of the batch.

    Args:
        prefix: The voice's latents and the text's embedding, shape (length, channels).
        most: Tokens after which it is cut off.
        stop: The token that ends it.
        start: The token that audio begins with.
        how: How to draw tokens.
        chance: Decides the draws.
    """

    def __init__(
        self, prefix: Tensor, most: int, *, stop: int, start: int, how: SamplingOptions, chance: np.random.Generator
    ) -> None:
        self.prefix, self.most = prefix, most
        self.tokens: list[int] = []
        self.pages: list[int] = []
        self.length = 0
        self.closed = False
        self._stop, self._how, self._chance = stop, how, chance
        self._seen = {FILLER, start}
        self._latents: list[Tensor] = []

    def __repr__(self) -> str:
        return f"<Utterance: {self.count} of at most {self.most} tokens, {len(self.pages)} pages>"

    @property
    def count(self) -> int:
        """How many tokens it has, the one that ends it included."""
        return len(self.tokens)

    @property
    def stopped(self) -> bool:
        """Whether the model has ended it."""
        return self.tokens[-1:] == [self._stop]

    @property
    def done(self) -> bool:
        """Whether there will be no more tokens."""
        return self.stopped or self.count >= self.most

    def accept(self, result: GeneratedLatents) -> None:
        """Draw the next token; see `Row.accept`."""
        token = draw(result.logits, self._seen, self._how, self._chance)
        self._latents.append(result.latent)
        self.length = result.length
        self._seen.add(token)
        self.tokens.append(token)

    def take(self) -> Tensor:
        """Give the latents since the last time, shape (n, channels)."""
        taken, self._latents = torch.cat(self._latents), []
        return taken


class _Block(NamedTuple):
    """The parameters of one layer, weights as (in, out)."""

    norm: tuple[Tensor, Tensor]
    attend: tuple[Tensor, Tensor]
    join: tuple[Tensor, Tensor]
    norm_2: tuple[Tensor, Tensor]
    widen: tuple[Tensor, Tensor]
    narrow: tuple[Tensor, Tensor]


class XttsDecoder:
    """Makes steps for utterances.

    Args:
        gpt: The library's module, loaded, in evaluation mode, on its device.
        positions: How many positions to have pages for from the start; more are added when they are needed.
    """

    def __init__(self, gpt: Module, positions: int) -> None:
        self._gpt = gpt
        model = gpt.gpt
        self._blocks = [_block(layer) for layer in model.h]
        self._epsilon = float(model.config.layer_norm_epsilon)
        self._last_norms = [_pair(model.ln_f), _pair(gpt.final_norm)]
        self._last_epsilons = [float(model.ln_f.eps), float(gpt.final_norm.eps)]
        self._heads, self._width = gpt.heads, gpt.model_dim // gpt.heads
        self.device = gpt.mel_head.weight.device
        self.most = int(gpt.max_gen_mel_tokens)
        self.pages = KvCache(gpt.layers, positions, self._heads, self._width, self.device)

    @torch.inference_mode()
    def open(
        self, voice: Tensor, text: Sequence[int], most: int, how: SamplingOptions, chance: np.random.Generator
    ) -> XttsUtterance:
        """Begin an utterance. To be given to `close` whatever becomes of it.

        Args:
            voice: The voice's latents, shape (1, n, channels).
            text: The text's tokens.
            most: Tokens after which it is cut off; the model's own limit holds in any case.
            how: How to draw tokens.
            chance: Decides the draws.
        """
        gpt = self._gpt
        ids = torch.tensor([[gpt.start_text_token, *text, gpt.stop_text_token]], device=self.device)
        embedded = gpt.text_embedding(ids) + gpt.text_pos_embedding(ids)
        prefix = torch.cat([voice[0], embedded[0]])
        marks = {"stop": gpt.stop_audio_token, "start": gpt.start_audio_token}
        return XttsUtterance(prefix, min(most, self.most), **marks, how=how, chance=chance)

    def close(self, utterance: XttsUtterance) -> None:
        """End an utterance: its pages are free. A step under way may still write to them, but none to come."""
        self.pages.free(utterance)

    @torch.inference_mode()
    def step(self, utterances: Sequence[XttsUtterance]) -> list[GeneratedLatents | None]:
        """Make a step for each; of those that begin, for one. See `Batch`.

        The first step of an utterance takes as long as its text: the others wait for one such at most, each time.
        """
        made: dict[XttsUtterance, GeneratedLatents] = {}
        begins = next((each for each in utterances if not each.length and not each.closed), None)
        if begins is not None:
            made[begins] = self._begin(begins)
        under_way = [each for each in utterances if each.length and not each.closed]
        if under_way:
            made.update(zip(under_way, self._go_on(under_way), strict=True))
        return [made.get(each) for each in utterances]

    def _begin(self, utterance: XttsUtterance) -> GeneratedLatents:
        gpt = self._gpt
        start = torch.tensor([gpt.start_audio_token], device=self.device)
        x = torch.cat([utterance.prefix, gpt.mel_embedding(start) + gpt.mel_pos_embedding.emb.weight[:1]])
        length = len(x)
        pages = torch.tensor(self.pages.reserve(utterance, length), device=self.device)
        at = torch.arange(length, device=self.device)
        where = (pages[at // PAGE], at % PAGE)

        def attend(layer: int, query: Tensor, pair: Tensor) -> Tensor:
            self.pages.memory[layer].index_put_(where, pair)
            query, key, value = (each.transpose(0, 1)[None] for each in (query, *pair.unbind(1)))
            return F.scaled_dot_product_attention(query, key, value, is_causal=True)[0].transpose(0, 1)

        latents, logits = self._run(x, attend, last=True)
        return GeneratedLatents(latents, logits[0], length)

    def _go_on(self, utterances: Sequence[XttsUtterance]) -> list[GeneratedLatents]:
        pages = [self.pages.reserve(each, each.length + 1) for each in utterances]
        most = max(map(len, pages))
        # one transfer to the device: of each utterance its last token, that one's place, and its pages
        table = np.zeros((len(utterances), 3 + most), np.int64)
        for row, (each, own) in enumerate(zip(utterances, pages, strict=True)):
            # a shorter row is filled up with a page of its own: what isn't seen mustn't be another's infinity
            table[row] = [each.tokens[-1], each.count, each.length, *own, *own[:1] * (most - len(own))]
        tokens, counts, lengths, *_ = (sent := torch.from_numpy(table).to(self.device)).unbind(1)
        sent = sent[:, 3:]
        where = (sent.gather(1, (lengths // PAGE)[:, None])[:, 0], lengths % PAGE)
        seen = (torch.arange(most * PAGE, device=self.device) <= lengths[:, None])[:, None, None]

        def attend(layer: int, query: Tensor, pair: Tensor) -> Tensor:
            memory = self.pages.memory[layer]
            memory.index_put_(where, pair)
            past = memory[sent].flatten(1, 2)  # utterance, position, key or value, head, width
            key, value = (each.transpose(1, 2) for each in past.unbind(2))
            return F.scaled_dot_product_attention(query[:, :, None], key, value, attn_mask=seen)[:, :, 0]

        x = self._gpt.mel_embedding(tokens) + self._gpt.mel_pos_embedding.emb(counts)
        latents, logits = self._run(x, attend)
        return [
            GeneratedLatents(latents[row : row + 1], logits[row], each.length + 1)
            for row, each in enumerate(utterances)
        ]

    def _run(
        self, x: Tensor, attend: Callable[[int, Tensor, Tensor], Tensor], *, last: bool = False
    ) -> tuple[Tensor, Logits]:
        """Run all layers on x, shape (n, channels), of which the positions are all else's business.

        Returns:
            Latents, shape (n, channels), and logits, shape (n, tokens); with `last` of the last position only.
        """
        channels = x.shape[-1:]
        for layer, block in enumerate(self._blocks):
            inner = F.layer_norm(x, channels, *block.norm, self._epsilon)
            heads = _apply(block.attend, inner).unflatten(-1, (3, self._heads, self._width))
            joined = attend(layer, heads[:, 0], heads[:, 1:])
            x = x + _apply(block.join, joined.flatten(-2))
            inner = F.layer_norm(x, channels, *block.norm_2, self._epsilon)
            x = x + _apply(block.narrow, F.gelu(_apply(block.widen, inner), approximate="tanh"))
        if last:
            x = x[-1:]
        for norm, epsilon in zip(self._last_norms, self._last_epsilons, strict=True):
            x = F.layer_norm(x, channels, *norm, epsilon)
        return x, self._gpt.mel_head(x).float().cpu().numpy()


def _apply(parameters: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
    weight, bias = parameters
    return torch.addmm(bias, x, weight)


def _pair(module: Module) -> tuple[Tensor, Tensor]:
    return module.weight.detach(), module.bias.detach()


def _block(layer: Module) -> _Block:
    attention, mlp = layer.attn, layer.mlp
    modules = (layer.ln_1, attention.c_attn, attention.c_proj, layer.ln_2, mlp.c_fc, mlp.c_proj)
    return _Block(*map(_pair, modules))
