"""Tokens are drawn as transformers draws them."""

import numpy as np
import pytest
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from ttsw.adapters.pytorch.sampling import SamplingOptions, distribution, draw

HOW = [
    SamplingOptions(),
    SamplingOptions(0.65, 50, 0.8, 2.0),
    SamplingOptions(1.0, 5, 1.0, 1.0),
    SamplingOptions(0.3, 0, 0.3, 10.0),
    SamplingOptions(2.0, 1000, 0.99, 1.5),
    SamplingOptions(1.0, 1, 0.5, 5.0),
    SamplingOptions(0.75, 50, 0.01, 5.0),
    SamplingOptions(1.0, 5000, 1.0, 1.0),
]


def by_transformers(logits, seen, how):
    rules = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(float(how.repetition_penalty))])
    rules.append(TemperatureLogitsWarper(how.temperature))
    if how.top_k:
        rules.append(TopKLogitsWarper(how.top_k))
    if how.top_p < 1:
        rules.append(TopPLogitsWarper(how.top_p))
    scores = rules(torch.tensor([seen]), torch.from_numpy(logits)[None].double())
    return scores.softmax(-1)[0].numpy()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("seed", range(5))
def test_probabilities_are_those_of_transformers(how, seed):
    chance = np.random.default_rng(seed)
    logits = (chance.standard_normal(1026) * 4).astype(np.float32)
    seen = [1, 1024, *chance.integers(0, 1026, 30).tolist()]
    tokens, shares = distribution(logits, set(seen), how)
    found = np.zeros(1026)
    found[tokens] = shares
    assert np.allclose(found, by_transformers(logits, seen, how), atol=1e-9)


def test_equal_ones_at_the_edge_are_all_kept():
    logits = np.array([3, 1, 1, 1, 0], np.float32)
    tokens, shares = distribution(logits, {4}, SamplingOptions(1.0, 2, 1.0, 1.0))
    assert np.allclose(shares, by_transformers(logits, [4], SamplingOptions(1.0, 2, 1.0, 1.0))[tokens])
    assert tokens.tolist() == [0, 1, 2, 3]


class Fixed:
    def __init__(self, value):
        self.value = value

    def random(self):
        return self.value


def test_a_number_falls_where_probability_says():
    logits = np.log(np.array([0.2, 0.5, 0.3], np.float32))
    how = SamplingOptions(1.0, 0, 1.0, 1.0)
    drawn = [draw(logits, (), how, Fixed(value)) for value in (0, 0.19, 0.21, 0.69, 0.71, 0.9999999999)]
    assert drawn == [0, 0, 1, 1, 2, 2]


def test_the_share_of_each_token_is_its_probability():
    logits = np.array([0, 1, 2, 3], np.float32)
    chance, how = np.random.default_rng(0), SamplingOptions(1.0, 0, 1.0, 1.0)
    counts = np.bincount([draw(logits, (), how, chance) for _ in range(20_000)], minlength=4)
    assert np.allclose(counts / 20_000, distribution(logits, (), how)[1], atol=0.012)


def test_what_is_not_a_number_is_said():
    with pytest.raises(FloatingPointError, match="not finite"):
        draw(np.array([0, np.nan], np.float32), (), SamplingOptions(), Fixed(0.5))
