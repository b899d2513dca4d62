"""Negative prompts from the catalogue's names that are most similar to the picture."""

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from eclip_mm.models.decoders import (
    CatalogueNegatives,
    InstanceQueries,
    catalogue_negatives,
    most_similar,
    scale_prompts,
)
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config

#: five names by their angle in degrees
ANGLES = torch.tensor([0.0, 90.0, 180.0, 270.0, 45.0])


def at(*degrees) -> torch.Tensor:
    """(len(degrees), 2) unit vectors."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1).float()


def source_of(feats, **options) -> CatalogueNegatives:
    source = CatalogueNegatives(embed_dims=feats.shape[1], **options)
    source.set_names(feats)
    return source


def test_negatives_by_hand():
    """Tokens at 10 and 200 degrees, whatever their length.

    The names are at 0 (10 degrees from a token), 90 (80), 180 (20), 270 (70)
    and 45 (35): 0, 180, 45, 270, 90 in this order.
    """
    tokens = torch.stack([3 * at(10)[0], 0.5 * at(200)[0]])[None]
    assert most_similar(tokens, at(*ANGLES), 5).tolist() == [[0, 2, 4, 3, 1]]
    source = source_of(5 * at(*ANGLES))
    cases = {
        0: [180, 45],  # the text of the first name, which is left out
        4: [180, 45],  # an image prompt near it
        180: [0, 45],
        50: [0, 180],
        88: [0, 180],  # its name is no candidate: the third is left out
    }
    for prompt, expected in cases.items():
        found = source(2, tokens, at(prompt))
        torch.testing.assert_close(found[0], math.sqrt(2) * at(*expected))
    # all prompts of a batch at once
    found = source(2, tokens.expand(5, -1, -1), at(*cases))
    torch.testing.assert_close(found, torch.stack([math.sqrt(2) * at(*v) for v in cases.values()]))


def slow_negatives(names, tokens, prompts, num_queries):
    """What the source is to do, name by name."""
    chosen = []
    for picture, prompt in zip(tokens.double(), prompts.double(), strict=True):
        score = {}
        for k, name in enumerate(names.double()):
            score[k] = max(float(F.cosine_similarity(token, name, dim=0)) for token in picture)
        by_score = sorted(score, key=lambda k: -score[k])[:num_queries]
        near = [float(F.cosine_similarity(prompt, name, dim=0)) for name in names.double()]
        own = near.index(max(near))
        rest = [k for k in by_score if k != own]
        chosen.append(scale_prompts(names[rest[: len(by_score) - 1]]))
    return torch.stack(chosen)


@pytest.mark.parametrize('max_elements', [2**24, 200, 35, 1])
@pytest.mark.parametrize('num_queries', [None, 3, 11, 40])
def test_negatives_are_those_of_a_slow_search(num_queries, max_elements):
    """For texts of the catalogue and other prompts, and for any size of the tiles."""
    torch.manual_seed(0)
    names, tokens = torch.randn(23, 6), torch.randn(8, 5, 6)
    prompts = torch.cat([names[:4], torch.randn(4, 6)])
    source = source_of(names, num_queries=num_queries, max_elements=max_elements)
    found = source(6, tokens, prompts)
    expected = slow_negatives(names, tokens, prompts, num_queries or 7)
    assert found.shape == (8, min(num_queries or 7, 23) - 1, 6)
    torch.testing.assert_close(found, expected)


def test_results_depend_on_nothing_but_the_picture():
    """The same bits for other batches, other orders and other tiles."""
    torch.manual_seed(0)
    names, tokens = F.normalize(torch.randn(300, 16), dim=-1), torch.randn(9, 7, 16)
    expected = most_similar(tokens, names, 20)
    order = torch.randperm(9)
    assert torch.equal(most_similar(tokens[order], names, 20), expected[order])
    for max_elements in (1, 100, 2000):
        assert torch.equal(most_similar(tokens, names, 20, max_elements), expected)
    for k in range(9):
        assert torch.equal(most_similar(tokens[k : k + 1], names, 20), expected[k : k + 1])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(most_similar(tokens, names, 20), expected)


@pytest.mark.parametrize('max_elements', [2**24, 8])
def test_equal_names_come_in_their_order(max_elements):
    """Names 1, 3, 5, ... equal the token, the others its opposite; tiles of one name or all."""
    direction = F.normalize(torch.randn(64), dim=0)
    names = direction * torch.tensor([-1.0, 1.0]).repeat(20)[:, None]
    found = most_similar(torch.stack([direction, direction])[None], names, 30, max_elements)
    assert found.tolist() == [[*range(1, 40, 2), *range(0, 20, 2)]]
    nothing = most_similar(torch.zeros(1, 3, 64), names, 4, max_elements)
    assert nothing.tolist() == [[0, 1, 2, 3]]


class LargestTensor(TorchDispatchMode):
    """Remembers the largest number of elements that an operation has made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)]
        self.size = max(self.size, *sizes, 0)
        return made


def test_there_is_never_a_matrix_of_all_names_and_tokens():
    """20,000 names and 3 x 49 tokens: 2.9 million similarities, 4,096 at a time."""
    names = F.normalize(torch.randn(20_000, 8), dim=-1)
    tokens = torch.randn(3, 49, 8)
    with LargestTensor() as watch:
        found = most_similar(tokens, names, 10, max_elements=4096)
    assert 1000 < watch.size <= 4096
    assert torch.equal(found, most_similar(tokens, names, 10))


def test_few_names_are_all_used():
    names = at(*ANGLES)
    source = source_of(names)
    found = source(19, torch.randn(3, 4, 2), at(0, 90, 100))  # 100: an image prompt, most like 90
    for row, left_out in zip(found, (0, 1, 1), strict=True):
        others = scale_prompts(names[[k for k in range(5) if k != left_out]])
        assert torch.cdist(row, others).amin(dim=0).max() < 1e-5
    with pytest.raises(ValueError, match=r'at least two different names.*got \(1, 2\)'):
        source.set_names(at(0))
    with pytest.raises(ValueError, match='D = 2, got'):
        source.set_names(torch.randn(4, 3))
    with pytest.raises(ValueError, match='num_queries is at least 2, got 1'):
        CatalogueNegatives(num_queries=1)


def test_positions_of_more_queries_than_in_training():
    """Position 0, which may be that of the positive query alone, is used once."""
    queries = InstanceQueries(num_queries=4, embed_dims=2)
    wanted = dict([(1, [0]), (3, [0, 1, 2]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3, 1, 2, 3, 1, 2])])
    for number, places in wanted.items():
        assert torch.equal(queries.positions(number), queries.pos_embed[places])
    assert InstanceQueries(num_queries=1, embed_dims=2).positions(3).shape == (3, 2)


def build(kind='CatalogueNegatives', **options):
    torch.manual_seed(0)
    cfg = tiny_model_config(negative_queries=dict(type=kind, **options))
    return MODELS.build(cfg).eval()


def predict(model):
    batch = model.data_preprocessor(fake_batch())
    return model(**batch, mode='predict')


@pytest.mark.parametrize('num_queries', [None, 3, 13])
def test_maps_divide_tokens_among_the_names(num_queries):
    """M has as many columns as there are queries, in training four, and its rows sum to 1."""
    model = build(num_queries=num_queries)
    model.negative_queries.set_names(torch.randn(30, 32))
    seen = []
    model.network.decoder.register_forward_hook(lambda *call: seen.append(call))
    samples = predict(model)
    assert samples[0].pred_score_map.shape == (4, 4)
    for _, (_, queries), (_, assign_maps) in seen:
        assert queries.shape == (6, num_queries or 4, 32)
        assert assign_maps[-1].shape == (6, 16, num_queries or 4)
        torch.testing.assert_close(assign_maps[-1].sum(dim=2), torch.ones(6, 16))
        assert (queries[0, 1:] - queries[1, 1:]).abs().max() > 1e-2  # of different pictures


def test_the_picture_is_searched_once_for_all_its_prompts(monkeypatch):
    searched, search = [], catalogue_negatives.most_similar
    monkeypatch.setattr(
        catalogue_negatives,
        'most_similar',
        lambda tokens, *rest: searched.append(tuple(tokens.shape)) or search(tokens, *rest),
    )
    model = build()
    model.negative_queries.set_names(torch.randn(9, 32))
    predict(model)
    # pictures of 16 tokens once; both prompts look for their own name
    assert sorted(searched) == [(6, 1, 32), (6, 1, 32), (6, 16, 32)]
    first = predict(model)
    assert searched.count((6, 16, 32)) == 2  # other pictures
    model.negative_queries.set_names(torch.randn(9, 32))
    tokens = torch.randn(1, 16, 32)
    before = model.negative_queries(3, tokens, torch.randn(1, 32))
    model.negative_queries.set_names(torch.randn(9, 32))
    assert not torch.equal(model.negative_queries(3, tokens, torch.randn(1, 32)), before)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert len(predict(copied)) == len(first)


def test_names_are_neither_saved_nor_kept_when_the_weights_change():
    options = dict(c=dict(type='CatalogueNegatives'))
    model, other = build(), build('SwitchableNegatives', use='c', options=options)
    for each in (model, other):
        source = each.negative_queries.in_use
        source.set_names(torch.randn(9, 32), origin='x')
        assert not any('negative_queries' in name for name in each.state_dict())
        changes = (
            lambda each=each: each.load_state_dict(each.state_dict()),
            lambda each=each: train_a_step(each),
            each.begin_training,
        )
        for change in changes:
            source.set_names(torch.randn(9, 32), origin='x')
            predict(each)
            change()
            assert source.origin is None
            with pytest.raises(RuntimeError, match=r'call eclip_mm.apis.prepare_negatives\('):
                predict(each)


def train_a_step(model):
    model.train()
    model(**model.data_preprocessor(fake_batch()), mode='loss')
    model.finish_step()
    model.eval()


@pytest.mark.parametrize('trained', ['TextNegatives', 'EMANegatives', 'GaussianNegatives'])
@pytest.mark.parametrize('chosen', ['CatalogueNegatives', 'GaussianNegatives'])
def test_sources_without_state_serve_every_checkpoint(trained, chosen):
    """``model.negative_queries.type=NAME`` on the command line of an evaluation."""
    state, model = build(trained).state_dict(), build(chosen)
    model.load_state_dict(state, strict=True)
    with pytest.raises(RuntimeError, match='Missing key'):
        build('TextNegatives').load_state_dict(build('EMANegatives').state_dict())
