"""Speech tokens to what the flow is guided by, piece by piece: exactly what the library makes of all of them at once.

Decides what is remembered of tokens that were read. In a stream, the library lets a token see those before it and those
of its own chunk; so what a whole chunk has become stays, and keys, values and the ends of convolutions are all that
later ones need of it. Parameters are the library's `UpsampleConformerEncoder`'s, arithmetic is here. Nothing is changed
in place: what is remembered after a piece is a new state, for the caller to keep or to drop.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from torch import Tensor
from torch.nn import Module

RATIO = 2
"""Frames of a token."""

AHEAD = 3
"""Tokens that a token sees after itself."""


@dataclass(frozen=True)
class Past:
    """What is remembered of tokens: all of their chunks are whole.

    Args:
        tokens: How many.
        pairs: Of each layer keys and values, shapes (positions, heads, width).
        ends: Inputs of the two convolutions that look back: their last two, shape (2, channels) each.
    """

    tokens: int
    pairs: tuple[tuple[Tensor, Tensor], ...]
    ends: tuple[Tensor, Tensor]


class Encoder:
    """Reads tokens.

    Args:
        flow: The library's `CausalMaskedDiffWithXvec`, loaded, on its device.
        chunk: Tokens of a chunk.
    """

    def __init__(self, flow: Module, chunk: int) -> None:
        self._flow, self._encoder, self.chunk = flow, flow.encoder, chunk
        weight = flow.encoder_proj.weight
        self._device, self._kind = weight.device, weight.dtype
        self._layers = [*flow.encoder.encoders, *flow.encoder.up_encoders]
        self._distances: list[Tensor | None] = [None] * len(self._layers)

    def begin(self) -> Past:
        """Give what is remembered of nothing."""
        channels = int(self._encoder.output_size())

        def empty(layer: Any) -> Tensor:  # noqa: ANN401 - a module of the library's
            attention = layer.self_attn
            return torch.zeros(0, attention.h, attention.d_k, device=self._device, dtype=self._kind)

        zeros = torch.zeros(2, channels, device=self._device, dtype=self._kind)
        return Past(0, tuple((empty(layer), empty(layer)) for layer in self._layers), (zeros, zeros))

    @torch.inference_mode()
    def run(self, past: Past, tokens: Tensor, keep: int, *, end: bool) -> tuple[Tensor, Past]:
        """Read what follows what is remembered.

        Args:
            past: What is remembered.
            tokens: The next ones, shape (n,); if it isn't the end, the last `AHEAD` of them are only seen by others.
            keep: Of how many tokens more to remember something; whole chunks.
            end: There are no more.

        Returns:
            What guides the flow, shape (frames, bands), and what is remembered after `keep` tokens.
        """
        encoder, (end_1, end_2) = self._encoder, past.ends
        x = self._embed(encoder.embed, self._flow.input_embedding(tokens.clamp(min=0)))
        count = len(x) - (0 if end else AHEAD)
        look = encoder.pre_lookahead_layer
        ahead = F.leaky_relu(_convolve(look.conv1, F.pad(x, (0, 0, 0, AHEAD)) if end else x))
        seen_1 = torch.cat([end_1, ahead])
        x = x[:count] + _convolve(look.conv2, seen_1)
        split, pairs = len(encoder.encoders), list(past.pairs)
        for index in range(split):
            x, pairs[index] = self._layer(index, x, past.pairs[index], self.chunk, keep)
        seen_2 = torch.cat([end_2, x])
        x = _convolve(encoder.up_layer.conv, seen_2.repeat_interleave(RATIO, dim=0))
        x = self._embed(encoder.up_embed, x)
        for index in range(split, len(self._layers)):
            x, pairs[index] = self._layer(index, x, past.pairs[index], self.chunk * RATIO, keep * RATIO)
        x = self._flow.encoder_proj(encoder.after_norm(x))
        if not keep:
            return x, past
        # a copy, so that not all of what was seen stays in memory
        ends = (seen_1[keep : keep + 2].clone(), seen_2[keep : keep + 2].clone())
        return x, Past(past.tokens + keep, tuple(pairs), ends)

    def _embed(self, module: Any, x: Tensor) -> Tensor:  # noqa: ANN401 - a module of the library's
        embedded: Tensor = module.out(x) * module.pos_enc.xscale
        return embedded

    def _layer(
        self, index: int, x: Tensor, pair: tuple[Tensor, Tensor], chunk: int, keep: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        layer = self._layers[index]
        attention, inner = layer.self_attn, layer.norm_mha(x)
        heads = (attention.h, attention.d_k)
        query, key, value = (
            linear(inner).unflatten(-1, heads)
            for linear in (attention.linear_q, attention.linear_k, attention.linear_v)
        )
        first, past = len(pair[0]), pair
        key, value = torch.cat([pair[0], key]), torch.cat([pair[1], value])
        if keep:
            past = (key[: first + keep].clone(), value[: first + keep].clone())
        joined = self._attend(index, query, key, value, chunk)
        x = x + attention.linear_out(joined.flatten(-2))
        return x + layer.feed_forward(layer.norm_ff(x)), past

    def _attend(self, index: int, query: Tensor, key: Tensor, value: Tensor, chunk: int) -> Tensor:
        """Attend by what is there and by how far it is: shapes (n, heads, width) of queries, the last of the keys'."""
        attention, total = self._layers[index].self_attn, len(key)
        at = torch.arange(total, device=self._device)
        mine = at[total - len(query) :]
        table = self._table(index, total)
        middle = len(table) // 2
        table = table[middle - len(query) + 1 : middle + total]
        by_content = torch.einsum("qhd,khd->hqk", query + attention.pos_bias_u, key)
        by_distance = torch.einsum("qhd,phd->hqp", query + attention.pos_bias_v, table)
        away = (mine[:, None] - at + len(query) - 1).expand(len(by_distance), -1, -1)
        scores = (by_content + by_distance.gather(2, away)).float() / attention.d_k**0.5
        hidden = at >= (mine // chunk + 1)[:, None] * chunk
        shares = scores.masked_fill(hidden, -torch.inf).softmax(-1).to(value.dtype)
        return torch.einsum("hqk,khd->qhd", shares, value)

    def _table(self, index: int, total: int) -> Tensor:
        """Give a layer's embeddings of distances, of 0 in the middle, shape (distances, heads, width)."""
        table = self._distances[index]
        if table is None or len(table) < 2 * total - 1:
            attention = self._layers[index].self_attn
            most = max(256, 1 << (total - 1).bit_length())
            channels = attention.h * attention.d_k
            rates = torch.exp(torch.arange(0, channels, 2).float() * (-torch.log(torch.tensor(10_000.0)) / channels))
            angles = torch.arange(1 - most, most).float()[:, None] * rates
            waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(self._device, self._kind)
            table = attention.linear_pos(waves).unflatten(-1, (attention.h, attention.d_k))
            self._distances[index] = table
        return table


def _convolve(module: Any, x: Tensor) -> Tensor:  # noqa: ANN401 - a module of the library's
    """Convolve x, shape (n, channels), without padding."""
    return F.conv1d(x.T[None], module.weight, module.bias)[0].T
