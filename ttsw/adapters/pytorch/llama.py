"""Llama-like transformers with batched steps: those inside CosyVoice 2 (Qwen2) and CSM.

The parameters are those of a transformers module (RMS norm, rotary positions, grouped queries, gated linear unit). The
arithmetic is here, since the library's loop handles one utterance, or several of equal length. Each utterance's keys
and values are kept in pages (`ttsw.adapters.pytorch.kv_cache`), so that utterances of any length share a step.
Embeddings and heads belong to the families.
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
"""Attention: layer, queries (n, heads, width), keys and values (n, groups, width), to (n, heads, width)."""

Adapt = Callable[[str, Tensor], Tensor | None]
"""Addition to a projection's output, by its name (`layers.0.self_attn.q_proj`) and input, shape (n, in)."""


class AttentionRow(KvCacheOwner, Protocol):
    """An utterance with cached keys and values."""

    length: int


class Norm(NamedTuple):
    """RMS norm."""

    weight: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise x, shape (n, channels); computed as float32."""
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)).to(x.dtype)


class Linear(NamedTuple):
    """A linear projection, with its name in the library."""

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
    """The layers of a transformer, without embeddings and heads.

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
        """Their device."""
        return self._norm.weight.device

    @property
    def kind(self) -> torch.dtype:
        """Their data type."""
        return self._norm.weight.dtype

    def run(self, x: Tensor, positions: Tensor, attend: Attend, adapt: Adapt | None = None) -> Tensor:
        """Run all layers.

        Args:
            x: Input, shape (n, channels).
            positions: Position of each row in its own sequence, shape (n,).
            attend: Caches keys and values, and attends to them. Keys are already rotated.
            adapt: Additions to the projections.

        Returns:
            Output of the last norm, shape (n, channels).
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
    """Layers with a paged KV cache per row.

    Args:
        layers: The layers.
        positions: Initial capacity of the cache, positions; it grows when needed.
    """

    def __init__(self, layers: Layers, positions: int) -> None:
        self.layers = layers
        shape = len(layers), positions, layers.groups, layers.width
        self.pages = KvCache(*shape, layers.device, kind=layers.kind)

    @torch.inference_mode()
    def begin(self, row: AttentionRow, x: Tensor, adapt: Adapt | None = None) -> Tensor:
        """Prefill: run a row's next positions at once. The owner updates the row's length.

        Args:
            row: The row, with `row.length` positions cached.
            x: Input, shape (n, channels).
            adapt: Additions to the projections.

        Returns:
            Output, shape (n, channels).
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
        """Decode: run each row's next position; see `begin`.

        Args:
            rows: The rows.
            x: Input, shape (rows, channels).
            adapt: Additions to the projections.

        Returns:
            Output, shape (rows, channels).
        """
        pages = [self.pages.reserve(each, each.length + 1) for each in rows]
        most = max(map(len, pages))
        # one transfer to the device: length and pages of each row
        table = np.zeros((len(rows), 1 + most), np.int64)
        for at, (row, own) in enumerate(zip(rows, pages, strict=True)):
            # shorter rows are padded with a page of their own, since masked values must not be another row's infinities
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
        """Free a row's pages. A step in progress may still write to them, but no later one."""
        self.pages.free(row)


def _attend(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None, causal: bool = False) -> Tensor:
    """Compute attention, shapes (rows, heads or groups, positions, width)."""
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
