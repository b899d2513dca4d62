"""Texts in groups of similar length give what the padded batch gives."""

import pytest
import torch

from eclip_mm.models.encoders.length_groups import encode_by_length, split_by_length
from eclip_mm.models.encoders.text_encoder import mask_of_pairs
from eclip_mm.registry import MODELS
from eclip_mm.testing import tiny_model_config


def texts(lengths, width, left=False):
    """ids (B, M) from 1 to 99, 0 at padding, and the mask."""
    places = torch.arange(width)
    lengths = torch.tensor(lengths)[:, None]
    mask = (places >= width - lengths if left else places < lengths).long()
    ids = torch.randint(1, 100, mask.shape, generator=torch.Generator().manual_seed(0))
    return ids * mask, mask


def build(**overrides):
    torch.manual_seed(0)
    return MODELS.build(dict(tiny_model_config()['text_encoder'], **overrides)).double()


def small(model_type):
    """Fields of a small text model by the names that its config has."""
    if model_type == 'distilbert':
        sizes = dict(dim=16, n_heads=2, n_layers=2, hidden_dim=32, dropout=0.0)
        return dict(sizes, attention_dropout=0.0, vocab_size=100)
    return dict(
        hidden_size=16,
        num_attention_heads=2,
        num_hidden_layers=2,
        intermediate_size=32,
        vocab_size=100,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


@pytest.mark.parametrize('model_type', ['bert', 'distilbert', 'electra', 'roberta'])
@pytest.mark.parametrize('num_groups', [2, 3, 4, 9, None])
def test_values_and_gradients_are_those_of_the_padded_batch(num_groups, model_type):
    options = dict(model_type=model_type, config=small(model_type))
    plain, grouped = (build(length_groups=n, **options) for n in (1, num_groups))
    # the rule makes one pass of the short texts and one of the long ones
    ids, mask = texts([3, 52, 5, 4, 49, 3, 7], width=52)
    weights = torch.randn(7, plain.embed_dims, dtype=torch.float64)
    results = []
    for encoder in (plain, grouped):
        feats = encoder(ids, mask)
        params = [p for p in encoder.parameters() if p.requires_grad]
        grads = torch.autograd.grad((feats * weights).sum(), params, allow_unused=True)
        results.append((feats, grads))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-12, atol=1e-12)
    for a, b in zip(results[1][1], results[0][1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


# of roberta, places follow from token ids, so vectors would not do
@pytest.mark.parametrize('model_type, calls', [('bert', [46]), ('roberta', [6, 10, 18, 12])])
def test_words_are_looked_up_once_and_no_padding_beyond_the_group(model_type, calls):
    encoder = build(length_groups=4, model_type=model_type, config=small(model_type))
    seen = []
    encoder.model.get_input_embeddings().register_forward_hook(
        lambda _, inputs, __: seen.append(inputs[0].numel())
    )
    encoder(*texts([3, 12, 5, 4, 9, 3, 7], width=12))
    assert seen == calls


def test_groups_are_cut_to_their_longest_text():
    seen = []

    def encode(input_ids, attention_mask):
        seen.append(tuple(input_ids.shape))
        return input_ids[:, :1]

    ids, mask = texts([2, 9, 3, 10, 9], width=12)
    assert torch.equal(encode_by_length(encode, ids, mask, 2), ids[:, :1])
    assert seen == [(3, 9), (2, 10)]  # lengths 2, 3, 9 and 9, 10: 47 tokens instead of 60
    seen.clear()
    encode_by_length(encode, *texts([4, 4, 4], width=4), num_groups=3)
    assert seen == [(3, 4)]  # nothing to cut


def test_padding_on_the_left_loses_no_token():
    ids, mask = texts([2, 5, 3], width=5, left=True)
    total = encode_by_length(lambda i, m: (i * m).sum(dim=1, keepdim=True), ids, mask, 3)
    assert torch.equal(total[:, 0], ids.sum(dim=1))


def cost_of(sizes, ends, cost):
    stops = torch.tensor(sizes).cumsum(0).tolist()
    return sum(n * ends[k - 1] + cost for n, k in zip(sizes, stops, strict=True))


@pytest.mark.parametrize('cost', [0, 10, 50, 10_000])
def test_no_other_passes_take_less_time(cost):
    """All divisions of some texts into at most three passes of at least two texts."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        total = int(torch.randint(2, 11, (), generator=generator))
        ends = torch.randint(1, 8, (total,), generator=generator).sort().values.mul(6).tolist()
        found = split_by_length(ends, cost, most=3)
        pairs = [[a, total - a] for a in range(2, total - 1)]
        triples = [[a, b - a, total - b] for a in range(2, total) for b in range(a + 2, total - 1)]
        best = min(cost_of(sizes, ends, cost) for sizes in [[total], *pairs, *triples])
        assert sum(found) == total and min(found) >= 2
        assert cost_of(found, ends, cost) == best
    assert split_by_length([7] * 5, cost) == [5]


def test_the_rule_makes_a_pass_where_it_saves_more_than_it_costs():
    seen = []
    encoder = build(config=small('bert'))
    encoder.model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(tuple(inputs['inputs_embeds'].shape[:2])),
        with_kwargs=True,
    )
    encoder(*texts([4, 5, 4, 5, 50, 48], width=55))
    encoder(*texts([4, 5, 4, 5, 9, 8], width=12))
    assert seen == [(4, 5), (2, 50), (6, 9)]


def test_other_devices_get_the_batch_as_it_is():
    """Their host does not wait for the lengths."""
    encoder = build(config=small('bert')).to('meta')
    seen = []
    encoder.model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(tuple(inputs['inputs_embeds'].shape[:2])),
        with_kwargs=True,
    )
    encoder(*(x.to('meta') for x in texts([4, 5, 4, 5, 50, 48], width=55)))
    assert seen == [(6, 55)]


@pytest.mark.parametrize('model_type', ['bert', 'distilbert', 'electra', 'roberta'])
def test_the_mask_that_other_devices_get_is_the_models_own(model_type):
    encoder = build(model_type=model_type, config=small(model_type))
    assert encoder._takes_pairs
    ids, mask = texts([3, 12, 5], width=12)
    found = encoder.model(input_ids=ids, attention_mask=mask_of_pairs(mask)).last_hidden_state
    wanted = encoder.model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.equal(found[mask.bool()], wanted[mask.bool()])


@pytest.mark.parametrize('model_type', ['clip_text_model', 'gpt2'])
def test_a_causal_model_keeps_its_own_mask(model_type):
    sizes = dict(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=100)
    options = dict(pooling='last', padding='longest', use_mask=True)
    if model_type == 'clip_text_model':
        options['pooling'] = 'eos'
    encoder = build(model_type=model_type, config=sizes, **options)
    assert not encoder._takes_pairs


def test_no_groups_is_an_error():
    with pytest.raises(ValueError, match='length_groups'):
        build(length_groups=0)
