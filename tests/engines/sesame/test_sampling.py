"""Codes are drawn as transformers draws them, by numbers that belong to each utterance."""

import numpy as np
import pytest
import torch

from ttsw.adapters.pytorch.sampling import SamplingOptions, distribution
from ttsw.adapters.sesame.sampling import CsmSampling, SamplingDefaults, draw, prepare

CPU = torch.device("cpu")


def drawn(logits, hows, numbers, codebook=1):
    chance = prepare(
        [np.full(4, number, np.float32) for number in numbers],
        [SamplingDefaults(how, how) for how in hows],
        logits.shape[1],
        CPU,
    )
    codes, whole = draw(logits, chance, codebook)
    assert torch.isfinite(whole).all()
    return codes.tolist()


@pytest.mark.parametrize(
    "how", [CsmSampling(1.0, 0), CsmSampling(0.9, 5), CsmSampling(0.3, 0), CsmSampling(2.0, 20), CsmSampling(1.0, 500)]
)
def test_the_numbers_fall_where_the_probabilities_are(how):
    logits = torch.randn(1, 20, generator=torch.Generator().manual_seed(1)) * 2
    tokens, shares = distribution(logits[0].numpy(), [], SamplingOptions(how.temperature, how.top_k, 1.0, 1.0))
    edges = np.cumsum(shares)
    numbers = (np.arange(1000, dtype=np.float32) + 0.5) / 1000
    wanted = [int(tokens[np.searchsorted(edges, number)]) for number in numbers]
    assert drawn(logits.expand(1000, -1), [how] * 1000, numbers) == wanted


@pytest.mark.parametrize("number", [0.0, 0.5, float(np.nextafter(np.float32(1), np.float32(0)))])
def test_the_best_alone_is_argmax_whatever_the_number(number):
    logits = torch.tensor([[0.0, 3.0, 3.0, 1.0], [5.0, 1.0, 5.0, 5.0]])
    assert drawn(logits, [CsmSampling(0.05, 1)] * 2, [number] * 2) == [1, 0]


def test_each_row_has_its_own_rules():
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(2))
    hows = [CsmSampling(0.1, 3), CsmSampling(1.0, 0), CsmSampling(5.0, 1), CsmSampling(2.0, 10)]
    numbers = [0.9, 0.3, 0.99, 0.6]
    alone = [drawn(logits[row : row + 1], [hows[row]], [numbers[row]])[0] for row in range(4)]
    assert drawn(logits, hows, numbers) == alone


def test_the_first_codebook_has_rules_of_its_own():
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(3))
    chance = prepare(
        [np.full(3, 0.999, np.float32)], [SamplingDefaults(CsmSampling(1.0, 1), CsmSampling(1.0, 0))], 50, CPU
    )
    assert draw(logits, chance, 0)[0] == logits.argmax()
    assert draw(logits, chance, 1)[0] == draw(logits, chance, 2)[0] != logits.argmax()


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_what_is_not_finite_shows(broken):
    logits = torch.zeros(2, 5)
    logits[1, 3] = broken
    chance = prepare(
        [np.full(3, 0.5, np.float32)] * 2, [SamplingDefaults(CsmSampling(1.0, 3), CsmSampling(1.0, 3))] * 2, 5, CPU
    )
    assert draw(logits, chance, 0)[1].isfinite().tolist() == [True, False]
