"""The model as the library itself loads and runs it, made by hand since hyperpyyaml isn't there."""

from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import torch

import ttsw.adapters.cosyvoice2.imports  # noqa: F401 - before the library, which can't be imported as it is

# isort: split
from cosyvoice.cli.model import CosyVoice2Model

from ttsw.adapters.cosyvoice2.checkpoint import read_config
from ttsw.adapters.cosyvoice2.definition import read_definition
from ttsw.adapters.cosyvoice2.modules import make_model


def load_library(root) -> CosyVoice2Model:
    """The library's model with a pack's weights, loaded by its own loader."""
    made = make_model(
        read_definition(root / "cosyvoice2.yaml"), read_config(root / "CosyVoice-BlankEN" / "config.json")
    )
    model = CosyVoice2Model(made.llm, made.flow, made.hift)
    model.load(*(str(root / f"{part}.pt") for part in ("llm", "flow", "hift")))
    return model


def spectrogram(library, voice, tokens, *, streaming, end=True):
    """The frames of tokens, computed at once, shape (frames, bands)."""
    frames, _ = library.flow.inference(
        token=torch.tensor([tokens], dtype=torch.int64),
        token_len=torch.tensor([len(tokens)]),
        prompt_token=voice.tokens[None],
        prompt_token_len=torch.tensor([len(voice.tokens)]),
        prompt_feat=voice.mel[None],
        prompt_feat_len=torch.tensor([len(voice.mel)]),
        embedding=voice.speaker,
        streaming=streaming,
        finalize=end,
    )
    return frames[0].T


@contextmanager
def noise_of(chance):
    """Have the library's source take its noise from a generator of numpy's, frame by frame."""
    real = torch.randn_like

    def made(like):
        if like.shape[-1] == 1:
            return real(like)  # of a branch that isn't used
        return torch.from_numpy(chance.standard_normal(like.shape[1:], np.float32))[None]

    with patch.object(torch, "randn_like", made):
        yield


def audio(library, frames, chance):
    """The audio of frames, computed at once, shape (n,)."""
    with noise_of(chance), torch.inference_mode():
        return library.hift.inference(frames.T[None])[0][0].numpy()


@contextmanager
def draws_of(chance):
    """Have the library draw with a generator of numpy's: one number a draw, as ours does."""

    def multinomial(shares, count, *, replacement):
        assert (count, replacement) == (1, True)
        edges = np.cumsum(shares.double().numpy())
        index = min(int(np.searchsorted(edges, chance.random() * edges[-1], "right")), len(edges) - 1)
        return torch.tensor([index])

    with patch.object(torch.Tensor, "multinomial", multinomial):
        yield
