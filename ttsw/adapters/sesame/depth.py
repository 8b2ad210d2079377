"""A frame's codes but the first: one after the other, by the depth decoder, for many utterances at once.

Each frame is a sequence of its own: the backbone's word, then the codes so far. So what it has seen is kept for one
frame only, in memory of a fixed size, and all utterances are at the same place.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from torch import Tensor
from torch.nn import Module

from ttsw.adapters.pytorch.llama import Adapt, Layers
from ttsw.adapters.sesame.sampling import Chance, draw

PROJECTOR = "inputs_embeds_projector"


class Depth:
    """The depth decoder of a model.

    Args:
        decoder: The library's `CsmDepthDecoderForCausalLM`, loaded, in evaluation mode, on its device.
        codes: How many codes of each codebook can be spoken.
    """

    def __init__(self, decoder: Module, codes: int) -> None:
        model, config = decoder.model, decoder.config
        self._layers = Layers(model)
        self._heads = decoder.codebooks_head.weight.detach()
        self._table = model.embed_tokens.weight.detach()
        self._projector = model.inputs_embeds_projector.weight.detach()
        self._books, self._size, self._codes = int(config.num_codebooks), int(config.vocab_size), codes
        self._places = torch.arange(self._books, device=self._layers.device)
        self._memory = self._make(1)

    def run(
        self, hidden: Tensor, first: Tensor, chance: Chance, adapt: Adapt | None, adapt_2: Adapt | None
    ) -> tuple[Tensor, Tensor]:
        """Draw all codes of a frame.

        Args:
            hidden: What came out of the backbone, shape (rows, channels).
            first: The first codebook's codes, shape (rows,).
            chance: What decides the draws.
            adapt: What is added to each projection, where there is one position for each row.
            adapt_2: The same, where there are two, one after the other.

        Returns:
            The codes, shape (rows, codebooks), and something that is finite if all logits were, shape (rows,).
        """
        rows = len(hidden)
        if self._memory.shape[1] < rows:
            self._memory = self._make(rows)
        frame, sums = [first], []
        x = torch.stack([hidden, F.embedding(first, self._table)], dim=1).flatten(0, 1)
        out = self._step(x, 0, 2, adapt_2)[1::2]
        for book in range(1, self._books):
            logits = (out @ self._heads[book - 1])[:, : self._codes]
            code, whole = draw(logits, chance, book)
            frame.append(code)
            sums.append(whole)
            if book + 1 < self._books:
                out = self._step(F.embedding(code + book * self._size, self._table), book + 1, 1, adapt)
        return torch.stack(frame, dim=1), torch.stack(sums).sum(0)

    def _step(self, x: Tensor, position: int, count: int, adapt: Adapt | None) -> Tensor:
        """Run the positions from `position` on, `count` for each row, those of a row one after the other."""
        y = F.linear(x, self._projector)
        more = None if adapt is None else adapt(PROJECTOR, x)
        end = position + count
        rows = len(x) // count

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            memory = self._memory[layer, :rows]
            query, key, value = (each.unflatten(0, (rows, count)).transpose(1, 2) for each in (query, key, value))
            memory[:, 0, :, position:end] = key
            memory[:, 1, :, position:end] = value
            seen = memory[:, 0, :, :end], memory[:, 1, :, :end]
            grouped = query.shape[1] != key.shape[1]
            out = F.scaled_dot_product_attention(query, *seen, is_causal=count > 1, enable_gqa=grouped)
            return out.transpose(1, 2).flatten(0, 1)

        places = self._places[position:end]
        places = places.expand(rows) if count == 1 else places.repeat(rows)
        return self._layers.run(y if more is None else y + more, places, attend, adapt)

    @torch.inference_mode()
    def _make(self, rows: int) -> Tensor:
        layers = self._layers
        shape = (len(layers), rows, 2, layers.groups, self._books, layers.width)
        return torch.zeros(shape, device=layers.device, dtype=layers.kind)
