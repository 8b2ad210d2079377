"""Transformers of Llama's kind, one step for many utterances at once: those inside CosyVoice 2 (Qwen2) and CSM.

Decides what a layer computes: parameters are a module's of transformers (normalised by RMS, rotary positions, grouped
queries, a gated linear unit), arithmetic is here, since the library's own loop knows one utterance, or many of one
length. Each utterance's keys and values are kept in pages (`ttsw.adapters.pytorch.kv_cache`), so that utterances of any
length share a step. Embeddings and heads are the family's.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from torch import Tensor
from torch.nn import Module

from ttsw.adapters.pytorch.kv_cache import PAGE, KvCache, KvCacheOwner

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""What positions see: layer, queries (n, heads, width), keys and values (n, groups, width), to (n, heads, width)."""

Adapt = Callable[[str, Tensor], Tensor | None]
"""What is added to a projection's output, by its name (`layers.0.self_attn.q_proj`) and its input, shape (n, in)."""


class AttentionRow(KvCacheOwner, Protocol):
    """An utterance, as its positions are seen here."""

    length: int


class Norm(NamedTuple):
    """A norm by the root mean square."""

    weight: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise x, shape (n, channels); computed as float32."""
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)).to(x.dtype)


class Linear(NamedTuple):
    """A projection, with the name that the library has for it."""

    name: str
    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor, adapt: Adapt | None) -> Tensor:
        """Project x, shape (n, in), to (n, out)."""
        y = F.linear(x, self.weight, self.bias)
        more = None if adapt is None else adapt(self.name, x)
        return y if more is None else y + more


class _Layer(NamedTuple):
    norm: Norm
    query: Linear
    key: Linear
    value: Linear
    join: Linear
    norm_2: Norm
    gate: Linear
    up: Linear
    down: Linear


class Layers:
    """The layers of a transformer, without what goes in and what comes out.

    Args:
        model: The library's module (`LlamaModel`, `Qwen2Model`, `CsmBackboneModel` …), loaded, on its device.
    """

    def __init__(self, model: Module) -> None:
        config = model.config
        self.heads = int(config.num_attention_heads)
        self.groups = int(config.num_key_value_heads)
        self.width = int(getattr(config, "head_dim", None) or config.hidden_size // self.heads)
        self._layers = [_layer(index, layer) for index, layer in enumerate(model.layers)]
        self._norm = _norm(model.norm)
        self._frequencies = model.rotary_emb.inv_freq.float()
        self._scaling = float(model.rotary_emb.attention_scaling)

    def __len__(self) -> int:
        return len(self._layers)

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self._norm.weight.device

    @property
    def kind(self) -> torch.dtype:
        """Their numbers' type."""
        return self._norm.weight.dtype

    def run(self, x: Tensor, positions: Tensor, attend: Attend, adapt: Adapt | None = None) -> Tensor:
        """Run all layers.

        Args:
            x: What goes in, shape (n, channels).
            positions: Where each stands in its own sequence, shape (n,).
            attend: Remembers keys and values, and attends to them. Keys are turned by their positions already.
            adapt: What is added to each projection.

        Returns:
            What comes out of the last norm, shape (n, channels).
        """
        angles = positions[:, None].float() * self._frequencies
        turn = torch.cat([angles, angles], dim=-1)[:, None]
        cosine, sine = ((each * self._scaling).to(x.dtype) for each in (turn.cos(), turn.sin()))

        def turned(heads: Tensor) -> Tensor:
            first, second = heads.chunk(2, dim=-1)
            return heads * cosine + torch.cat([-second, first], dim=-1) * sine

        for index, layer in enumerate(self._layers):
            inner = layer.norm(x)
            query = turned(layer.query(inner, adapt).unflatten(-1, (self.heads, self.width)))
            key = turned(layer.key(inner, adapt).unflatten(-1, (self.groups, self.width)))
            value = layer.value(inner, adapt).unflatten(-1, (self.groups, self.width))
            x = x + layer.join(attend(index, query, key, value).flatten(-2), adapt)
            inner = layer.norm_2(x)
            x = x + layer.down(F.silu(layer.gate(inner, adapt)) * layer.up(inner, adapt), adapt)
        return self._norm(x)


class Paged:
    """Layers whose keys and values are kept in pages, a row's own.

    Args:
        layers: The layers.
        positions: How many positions to have pages for from the start; more are added when they are needed.
    """

    def __init__(self, layers: Layers, positions: int) -> None:
        self.layers = layers
        shape = len(layers), positions, layers.groups, layers.width
        self.pages = KvCache(*shape, layers.device, kind=layers.kind)

    @torch.inference_mode()
    def begin(self, row: AttentionRow, x: Tensor, adapt: Adapt | None = None) -> Tensor:
        """Give a row its next positions, all at once; the row's length stays what it was, for the owner to change.

        Args:
            row: The row; it has seen `row.length` positions.
            x: What goes in, shape (n, channels).
            adapt: What is added to each projection.

        Returns:
            What comes out, shape (n, channels).
        """
        device, first, end = self.layers.device, row.length, row.length + len(x)
        pages = torch.tensor(self.pages.reserve(row, end), device=device)
        at = torch.arange(end, device=device)
        new = at[first:]
        where = (pages[new // PAGE], new % PAGE)
        seen = None if first == 0 else at <= new[:, None]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            memory = self.pages.memory[layer]
            memory.index_put_(where, torch.stack([key, value], dim=1))
            if first:
                key, value = memory[pages].flatten(0, 1)[:end].unbind(1)
            heads = (each.transpose(0, 1)[None] for each in (query, key, value))
            return _attend(*heads, mask=seen, causal=seen is None)[0].transpose(0, 1)

        return self.layers.run(x, new, attend, adapt)

    @torch.inference_mode()
    def advance(self, rows: Sequence[AttentionRow], x: Tensor, adapt: Adapt | None = None) -> Tensor:
        """Give each row its next position; see `begin`.

        Args:
            rows: The rows.
            x: What goes in, shape (rows, channels).
            adapt: What is added to each projection.

        Returns:
            What comes out, shape (rows, channels).
        """
        pages = [self.pages.reserve(each, each.length + 1) for each in rows]
        most = max(map(len, pages))
        # one transfer to the device: of each row its length and its pages
        table = np.zeros((len(rows), 1 + most), np.int64)
        for at, (row, own) in enumerate(zip(rows, pages, strict=True)):
            # a shorter row is filled up with a page of its own: what isn't seen mustn't be another's infinity
            table[at] = [row.length, *own, *own[:1] * (most - len(own))]
        sent = torch.from_numpy(table).to(self.layers.device)
        lengths, sent = sent[:, 0], sent[:, 1:]
        where = (sent.gather(1, (lengths // PAGE)[:, None])[:, 0], lengths % PAGE)
        seen = (torch.arange(most * PAGE, device=self.layers.device) <= lengths[:, None])[:, None, None]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            memory = self.pages.memory[layer]
            memory.index_put_(where, torch.stack([key, value], dim=1))
            past = memory[sent].flatten(1, 2)  # row, position, key or value, group, width
            keys, values = (each.transpose(1, 2) for each in past.unbind(2))
            return _attend(query[:, :, None], keys, values, mask=seen)[:, :, 0]

        return self.layers.run(x, lengths, attend, adapt)

    def close(self, row: AttentionRow) -> None:
        """End a row: its pages are free. A step under way may still write to them, but none to come."""
        self.pages.free(row)


def _attend(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None, causal: bool = False) -> Tensor:
    """Attend, shapes (rows, heads or groups, positions, width)."""
    grouped = query.shape[1] != key.shape[1]
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=grouped)


def _layer(index: int, layer: Module) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp

    def linear(name: str, module: Module) -> Linear:
        bias = None if module.bias is None else module.bias.detach()
        return Linear(f"layers.{index}.{name}", module.weight.detach(), bias)

    def attending(name: str) -> Linear:
        return linear(f"self_attn.{name}", getattr(attention, name))

    def widening(name: str) -> Linear:
        return linear(f"mlp.{name}", getattr(mlp, name))

    return _Layer(
        _norm(layer.input_layernorm),
        attending("q_proj"),
        attending("k_proj"),
        attending("v_proj"),
        attending("o_proj"),
        _norm(layer.post_attention_layernorm),
        widening("gate_proj"),
        widening("up_proj"),
        widening("down_proj"),
    )


def _norm(module: Module) -> Norm:
    return Norm(module.weight.detach(), float(module.variance_epsilon))
