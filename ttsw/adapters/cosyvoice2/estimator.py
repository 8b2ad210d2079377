"""The flow's steps: noise to a mel spectrogram, in ten of them, one step for many utterances at once.

Decides what a step computes and what is remembered of it. Parameters are the library's `CausalConditionalDecoder`'s,
arithmetic is here. In the library's stream a frame sees those before it and those of its own chunk, so what a whole
chunk was stays as it is. Of each chunk, step and layer the input of attention is remembered, a quarter of what keys and
values would take, in pages; of each convolution the last two inputs. Utterances need not be at the same step, nor have
equally many frames.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from torch import Tensor
from torch.nn import Module

from ttsw.adapters.cosyvoice2.stream import STEPS, GeneratedMel, MelStream
from ttsw.adapters.pytorch.kv_cache import PAGE, KvCache

_TAIL = 2
"""Frames that a convolution looks back."""


class Estimator:
    """Makes steps for streams.

    Args:
        decoder: The library's `CausalConditionalCFM`, loaded, on its device.
        chunk: Frames of a chunk.
        pages: How many chunks there is memory for from the start; more is made if needed.
    """

    def __init__(self, decoder: Module, chunk: int, pages: int) -> None:
        self._net, self._chunk = decoder.estimator, chunk
        net = self._net
        weight = net.final_proj.weight
        self.device, self.kind = weight.device, weight.dtype
        self._rate = float(decoder.inference_cfg_rate)
        self._blocks = [block for part in (net.down_blocks, net.mid_blocks, net.up_blocks) for block in part]
        layers = [layer for block in self._blocks for layer in block[1]]
        self.channels = int(layers[0].norm1.normalized_shape[0])
        self._heads = int(layers[0].attn1.heads)
        self._pairs = [torch.cat([layer.attn1.to_k.weight, layer.attn1.to_v.weight]) for layer in layers]
        if (STEPS * chunk * self.channels) % PAGE:
            raise ValueError(f"the estimator's channels are {self.channels}, and must be a multiple of 8")
        # a page of `KvCache` has PAGE positions; here, each holds keys and values of two chunks, for all steps
        rest = STEPS * chunk * self.channels // PAGE
        self.pages = KvCache(len(layers), pages * PAGE, rest, 1, self.device, kind=self.kind)
        self._times, self._spans = self._schedule(decoder.t_scheduler)

    @torch.inference_mode()
    def _schedule(self, kind: str) -> tuple[list[Tensor], list[float]]:
        """Give what each block adds for each step's time, shape (steps, channels), and how long the steps are."""
        span = torch.linspace(0, 1, STEPS + 1)
        if kind == "cosine":
            span = 1 - torch.cos(span * 0.5 * torch.pi)
        at, length = span[0], span[1] - span[0]
        times, lengths = [], []
        for step in range(1, STEPS + 1):  # as the library adds them up, with its rounding
            times.append(at)
            lengths.append(float(length))
            at = at + length
            if step < STEPS:
                length = span[step + 1] - at
        net = self._net
        time = net.time_mlp(net.time_embeddings(torch.stack(times).to(self.device)).to(self.kind))
        return [block[0].mlp(time) for block in self._blocks], lengths

    def close(self, stream: MelStream) -> None:
        """End a stream: its pages are free. A step under way may still write to them, but none to come."""
        self.pages.free(stream)

    @torch.inference_mode()
    def step(self, streams: Sequence[MelStream]) -> list[GeneratedMel | None]:
        """Make a step for each. See `Batch`."""
        rows = [each for each in streams if not each.closed]
        made = dict(zip(rows, self._step(rows), strict=True)) if rows else {}
        return [made.get(each) for each in streams]

    def _step(self, rows: Sequence[MelStream]) -> list[GeneratedMel]:
        for each in rows:
            self._reserve(each)
        if any(each.closed for each in rows):  # since: it has no pages
            raise RuntimeError("a stream was closed within a step")
        steps = torch.tensor([each.step for each in rows]).to(self.device)
        longest = max(len(each.x) for each in rows)
        frames = torch.zeros(len(rows), longest, rows[0].x.shape[1], device=self.device)
        bands = frames.shape[2]
        x = torch.zeros(len(rows), 2, longest, 4 * bands, device=self.device, dtype=self.kind)
        for row, each in enumerate(rows):
            count = len(each.x)
            frames[row, :count] = each.x
            x[row, :, :count, :bands] = each.x.to(self.kind)
            x[row, 0, :count, bands : 2 * bands] = each.given[:, :bands]
            x[row, 0, :count, 2 * bands : 3 * bands] = each.speaker
            x[row, 0, :count, 3 * bands :] = each.given[:, bands:]
        run = _Run(self, rows, steps, longest)
        flow = self._run(x.flatten(0, 1).transpose(1, 2), run).transpose(1, 2).float().unflatten(0, (-1, 2))
        flow = (1 + self._rate) * flow[:, 0] - self._rate * flow[:, 1]
        spans = torch.tensor([self._spans[each.step] for each in rows], device=self.device)
        frames = frames + spans[:, None, None] * flow
        ends = torch.cat(run.left, dim=1).unflatten(0, (-1, 2)) if run.left else None
        return [
            GeneratedMel(
                frames[row, : len(each.x)].clone(),
                ends[row].clone() if ends is not None and each.keep else None,
            )
            for row, each in enumerate(rows)
        ]

    def _reserve(self, stream: MelStream) -> None:
        """See that a stream has pages for its new chunks, and one in any case: others' may hold anything."""
        missing = max(stream.keep - len(stream.new), int(not stream.pages))
        if missing <= 0:
            return
        used = {*stream.prompt, *stream.recent, *stream.new}
        idle = [page for page in stream.pages if page not in used]
        if (lacking := missing - len(idle)) > 0:
            reserved = self.pages.reserve(stream, (len(stream.pages) + lacking) * PAGE)
            idle += reserved[len(reserved) - lacking :]
        stream.new = [*stream.new, *idle[: stream.keep - len(stream.new)]]

    def _run(self, x: Tensor, run: "_Run") -> Tensor:
        """Run the network: shapes (2 * rows, channels, frames)."""
        net, layer, skipped = self._net, 0, list[Tensor]()
        downs, ups = len(net.down_blocks), len(net.up_blocks)
        for index, block in enumerate(self._blocks):
            up = index >= len(self._blocks) - ups
            if up:
                x = torch.cat([x, skipped.pop()], dim=1)
            inner = run.convolve(block[0].block1.block, x) + run.times(self._times[index])
            x = run.convolve(block[0].block2.block, inner) + block[0].res_conv(x)
            x = x.transpose(1, 2)
            for transformer in block[1]:
                x = self._transform(transformer, layer, x, run)
                layer += 1
            x = x.transpose(1, 2)
            if index < downs:
                skipped.append(x)
            if index < downs or up:
                x = run.look_back(block[2], x)
        result: Tensor = net.final_proj(run.convolve(net.final_block.block, x))
        return result

    def _transform(self, transformer: Any, layer: int, x: Tensor, run: "_Run") -> Tensor:  # noqa: ANN401 - the library's
        attention, inner = transformer.attn1, transformer.norm1(x)
        seen = torch.cat([run.remember(self._memory()[layer], inner), inner], dim=1)
        key, value = F.linear(seen, self._pairs[layer]).chunk(2, dim=-1)
        heads = (each.unflatten(-1, (self._heads, -1)).transpose(1, 2) for each in (attention.to_q(inner), key, value))
        joined = F.scaled_dot_product_attention(*heads, attn_mask=run.mask)
        x = x + attention.to_out[0](joined.transpose(1, 2).flatten(2))
        return x + transformer.ff(transformer.norm3(x))

    def _memory(self) -> Tensor:
        """What is remembered, shape (layers, pages, steps, 2, chunk, channels)."""
        memory = self.pages.memory
        return memory.view(memory.shape[0], memory.shape[1], STEPS, 2, self._chunk, self.channels)


class _Run:
    """What one run of the network needs of its rows: what they remember, and where that goes.

    Args:
        estimator: Whose run.
        rows: The rows.
        steps: At which step each is, shape (rows,).
        longest: Frames of the longest.
    """

    def __init__(self, estimator: Estimator, rows: Sequence[MelStream], steps: Tensor, longest: int) -> None:
        device, chunk = estimator.device, estimator._chunk
        self._steps, self._chunk, self._rows = steps, chunk, len(rows)
        held = [[*each.prompt, *each.recent] for each in rows]
        most = max(map(len, held))
        table = np.array([[*own, *[each.pages[0]] * (most - len(own))] for own, each in zip(held, rows, strict=True)])
        self._held = torch.from_numpy(table.astype(np.int64)).to(device).reshape(len(rows), most)
        writes = [(row, at, page) for row, each in enumerate(rows) for at, page in enumerate(each.new)]
        self._whole = max((at + 1 for _, at, _ in writes), default=0)
        self._writes = torch.tensor(writes, dtype=torch.int64).reshape(-1, 3).to(device).unbind(1)
        self.mask = self._mask(rows, held, most, longest, device)
        self._kept = torch.tensor([each.keep * chunk for each in rows]).repeat_interleave(2).to(device)
        self._keeps = any(each.keep for each in rows)
        ends = [None if each.ends is None else each.ends[each.step] for each in rows]
        like = next((each for each in ends if each is not None), None)
        self._ends = None
        if like is not None:
            zeros = torch.zeros_like(like)
            self._ends = torch.stack([zeros if each is None else each for each in ends]).flatten(0, 1)
        self._at = 0
        self.left: list[Tensor] = []

    def _mask(
        self, rows: Sequence[MelStream], held: list[list[int]], most: int, longest: int, device: torch.device
    ) -> Tensor:
        """Say what each frame sees: all that is remembered, and the new ones up to the end of its own chunk."""
        lengths = torch.tensor([[len(own) * self._chunk, len(each.x)] for own, each in zip(held, rows, strict=True)])
        past, new = lengths.to(device)[:, None].unbind(2)
        at = torch.arange(longest, device=device)
        before = (torch.arange(most * self._chunk, device=device) < past)[:, None].expand(-1, longest, -1)
        beside = (at < new)[:, None] & (at // self._chunk <= (at // self._chunk)[:, None])
        return torch.cat([before, beside], dim=2)[:, None].repeat_interleave(2, dim=0)

    def remember(self, memory: Tensor, inner: Tensor) -> Tensor:
        """Put the new whole chunks into a layer's memory, and give what was there: (2 * rows, positions, channels)."""
        if self._whole:
            row, at, page = self._writes
            chunks = inner[:, : self._whole * self._chunk].unflatten(0, (-1, 2)).unflatten(2, (-1, self._chunk))
            memory.index_put_((page, self._steps[row]), chunks[row, :, at])
        past = memory[self._held, self._steps[:, None]]  # row, page, with guidance and without, frame, channel
        return past.transpose(1, 2).flatten(0, 1).flatten(1, 2)

    def times(self, made: Tensor) -> Tensor:
        """What is added to all frames of each row for its step's time, shape (2 * rows, channels, 1)."""
        return made[self._steps].repeat_interleave(2, dim=0)[:, :, None]

    def convolve(self, block: Any, x: Tensor) -> Tensor:  # noqa: ANN401 - a module of the library's
        """Run a `CausalBlock1D`: a convolution, a norm and an activation."""
        x = self.look_back(block[0], x)
        activated: Tensor = block[4](block[2](x.transpose(1, 2))).transpose(1, 2)
        return activated

    def look_back(self, module: Any, x: Tensor) -> Tensor:  # noqa: ANN401 - a module of the library's
        """Run a convolution of each frame and the two before it, and remember the last two of its whole chunks."""
        channels = x.shape[1]
        if self._ends is None:
            padded = F.pad(x, (_TAIL, 0))
        else:
            padded = torch.cat([self._ends[:, self._at : self._at + channels], x], dim=2)
        self._at += channels
        if self._keeps:
            where = self._kept[:, None, None] + torch.arange(_TAIL, device=x.device)
            self.left.append(padded.gather(2, where.expand(-1, channels, -1)))
        return F.conv1d(padded, module.weight, module.bias)
