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


def test_negatives_are_different_products():
    """A batch in which products stand up to four times, drawn over many steps."""
    ids = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 6, 6])
    for num_queries in (4, 7):  # 7: all products of the batch
        for step in range(200):
            plan = PromptSampler(num_queries=num_queries)(ids, slice(0, 14), step)
            for row in ids[plan.sources].tolist():
                assert len(set(row)) == num_queries
            assert (plan.sources[torch.arange(14), plan.positive_index] == torch.arange(14)).all()


def test_rows_of_a_repeated_product_are_drawn_as_often_as_each_other():
    """Two rows of product 1: a row of product 0 takes either, and never both."""
    ids, counts = torch.tensor([0, 1, 1, 2]), torch.zeros(4)
    sampler = PromptSampler(num_queries=3, positive_index='first')
    for step in range(2000):
        _, *negatives = sampler(ids, slice(0, 1), step).sources[0].tolist()
        assert 3 in negatives and len({1, 2} & set(negatives)) == 1
        counts[negatives] += 1
    # standard error 22
    assert counts[3] == 2000 and abs(int(counts[1]) - 1000) < 100


def test_the_draw_by_hand(monkeypatch):
    """Order 2 0 3 1 4, offsets 2 1 4 3: the places after a row, in the order of the offsets."""
    draws = iter([torch.tensor([1, 0, 3, 2]), torch.tensor([2, 0, 3, 1, 4])])
    monkeypatch.setattr(torch, 'randperm', lambda n, generator: next(draws))
    ids = torch.tensor([7, 8, 7, 9, 8])  # rows 0 and 2, rows 1 and 4 are one product each
    found = PromptSampler(num_queries=3)._draw_negatives(ids, torch.Generator())
    # Row 0 stands at place 1: places 3, 2, 0, 4 hold rows 1, 3, 2, 4; it takes 1 and 3.
    # Row 1, place 3: places 0, 4, 2, 1 hold rows 2, 4 (its own product), 3, 0; it takes 2 and 3.
    # Row 2, place 0: places 2, 1, 4, 3 hold 3, 0 (own), 4, 1; it takes 3 and 4.
    # Row 3, place 2: places 4, 3, 1, 0 hold 4, 1 (product 8 again), 0, 2; it takes 4 and 0.
    # Row 4, place 4: places 1, 0, 3, 2 hold 0, 2 (product 7 again), 1 (own), 3; it takes 0 and 3.
    assert found.tolist() == [[1, 3], [2, 3], [3, 4], [4, 0], [0, 3]]


def test_many_offsets_are_tried_where_a_product_fills_the_batch():
    """58 of 64 rows are one product: a row needs all offsets to find 6 other ones."""
    ids = torch.arange(64).sub(57).clamp(min=0)
    for step in range(20):
        plan = PromptSampler(num_queries=7)(ids, slice(0, 64), step)
        assert all(sorted(row) == list(range(7)) for row in ids[plan.sources].tolist())


def test_different_products_are_drawn_as_before():
    """The plan of earlier versions for a batch of different products, step 3."""
    ids = torch.arange(40).flip(0)
    plan = PromptSampler(num_queries=5, seed=2)(ids, slice(0, 40), step=3)
    assert plan.sources[:3].tolist() == [
        [14, 0, 10, 27, 18],
        [1, 29, 30, 32, 0],
        [29, 15, 8, 2, 36],
    ]
    assert plan.positive_index[:6].tolist() == [1, 0, 3, 0, 1, 1]


def test_negatives_are_uniform():
    """Every other product equally often: 3 of 7 draws each."""
    counts = torch.zeros(8, 8)
    for step in range(2000):
        plan = PromptSampler(num_queries=4)(torch.arange(8), slice(0, 8), step)
        counts.scatter_add_(1, plan.sources, torch.ones(8, 4))
    rate = counts[~torch.eye(8, dtype=torch.bool)] / 2000
    # standard error of a rate of 3/7 over 2,000 steps is 0.011
    assert (rate - 3 / 7).abs().max() < 0.05


@pytest.mark.parametrize('num_products', [24, 9])
def test_ranks_get_the_rows_of_the_global_plan(num_products):
    ids, sampler = torch.arange(24) % num_products, PromptSampler(num_queries=5, seed=1)
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


def test_too_few_products_say_what_to_do():
    for ids, others in ((torch.arange(8), 7), (torch.arange(64) % 9, 8), (torch.zeros(1), 0)):
        message = (
            f'20 queries need 19 different other products .* {len(ids)} rows it has {others}; '
            'raise `batch_size` or lower `num_queries`'
        )
        with pytest.raises(ValueError, match=message):
            PromptSampler(num_queries=20)(ids, slice(0, len(ids)), 0)


def test_prompts_have_the_norm_of_gaussian_noise():
    prompts = scale_prompts(torch.randn(3, 400))
    torch.testing.assert_close(prompts.norm(dim=-1), torch.full((3,), 20.0))
    noise = GaussianNegatives(400).draw(100).norm(dim=-1)
    assert (noise - 20).abs().max() < 4  # standard deviation of the norm is 0.7
