"""Which prompts a sample gets."""

import pytest
import torch

from eclip_mm.models.decoders import IMAGE, GaussianNegatives, scale_prompts
from eclip_mm.models.prompts import PromptSampler


def test_one_positive_and_distinct_other_products():
    ids = torch.arange(32)
    plan = PromptSampler(num_queries=20)(ids, slice(0, 32), step=3)
    for i in range(32):
        r = plan.positive_index[i]
        assert plan.sources[i, r] == i
        others = [x for t, x in enumerate(plan.sources[i].tolist()) if t != r]
        assert i not in others and len(set(others)) == 19


def test_never_the_same_product():
    ids = torch.tensor([0, 0, 0, 1, 1, 2, 3, 4, 5, 6])
    for step in range(50):
        plan = PromptSampler(num_queries=4)(ids, slice(0, 10), step)
        own = plan.sources == torch.arange(10)[:, None]
        assert (ids[plan.sources] == ids[:, None]).eq(own).all()


def test_negatives_are_uniform():
    """Every other product equally often: 3 of 7 draws each."""
    counts = torch.zeros(8, 8)
    for step in range(2000):
        plan = PromptSampler(num_queries=4)(torch.arange(8), slice(0, 8), step)
        counts.scatter_add_(1, plan.sources, torch.ones(8, 4))
    rate = counts[~torch.eye(8, dtype=torch.bool)] / 2000
    # standard error of a rate of 3/7 over 2,000 steps is 0.011
    assert (rate - 3 / 7).abs().max() < 0.05


def test_ranks_get_the_rows_of_the_global_plan():
    ids, sampler = torch.arange(24), PromptSampler(num_queries=5, seed=1)
    whole = sampler(ids, slice(0, 24), step=7)
    parts = [sampler(ids, slice(k, k + 8), step=7) for k in (0, 8, 16)]
    for name in ('sources', 'modality', 'positive_index', 'random_draws'):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(p, name) for p in parts]))


def test_steps_differ_and_repeat():
    ids, sampler = torch.arange(24), PromptSampler(num_queries=5)
    a, b, again = (sampler(ids, slice(0, 24), step) for step in (1, 2, 1))
    assert torch.equal(a.sources, again.sources) and not torch.equal(a.sources, b.sources)


def test_fixed_index_and_text_only():
    plan = PromptSampler(num_queries=5, positive_index='first', image_prob=0.0)(
        torch.arange(9), slice(0, 9), 0
    )
    assert (plan.positive_index == 0).all() and not (plan.modality == IMAGE).any()


def test_too_small_a_batch_says_what_to_do():
    with pytest.raises(ValueError, match='raise `batch_size` or lower `num_queries`'):
        PromptSampler(num_queries=20)(torch.arange(8), slice(0, 8), 0)


def test_prompts_have_the_norm_of_gaussian_noise():
    prompts = scale_prompts(torch.randn(3, 400))
    torch.testing.assert_close(prompts.norm(dim=-1), torch.full((3,), 20.0))
    noise = GaussianNegatives(400)(['a', 'b'], torch.arange(2), 50).norm(dim=-1)
    assert (noise - 20).abs().max() < 4  # standard deviation of the norm is 0.7
