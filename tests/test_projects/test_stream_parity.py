"""The layers of projects/streams with the weights of transformers' VisualBERT and LXMERT."""

import pytest
import torch
from transformers import LxmertConfig, VisualBertConfig
from transformers.models.lxmert.modeling_lxmert import LxmertCrossAttentionLayer
from transformers.models.visual_bert.modeling_visual_bert import VisualBertEncoder

OFF = dict(attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0)


@pytest.fixture(scope='module', autouse=True)
def projects(repo_root):
    with pytest.MonkeyPatch.context() as patch:  # as PYTHONPATH=. does
        patch.syspath_prepend(str(repo_root))
        yield


def copy_attention(ours, weights, out):
    """Weights of BERT's attention, whose parts have these names in both libraries."""
    for name in ('query', 'key', 'value'):
        getattr(ours, name).load_state_dict(getattr(weights, name).state_dict())
    ours.out.load_state_dict(out.dense.state_dict())
    ours.norm.load_state_dict(out.LayerNorm.state_dict())


def scatter_weights(module, seed=0):
    """Random weights everywhere, norms and biases included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    return module.eval()


def additive(mask):
    return (~mask[:, None, None]).double() * torch.finfo(torch.float64).min


def inputs():
    g = torch.Generator().manual_seed(1)
    words, regions = (torch.randn(2, n, 16, generator=g).double() for n in (5, 4))
    word_mask = torch.arange(5) < torch.tensor([[5], [3]])
    region_mask = torch.arange(4) < torch.tensor([[4], [2]])
    return [x.requires_grad_() for x in (words, regions)], [word_mask, region_mask]


def test_joint_layers_are_those_of_visual_bert():
    from projects.streams.stream_encoder import StreamEncoder

    cfg = VisualBertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, **OFF
    )
    theirs = scatter_weights(VisualBertEncoder(cfg)).double()
    ours = StreamEncoder(16, 16, 16, joint_layers=2, num_heads=4, ffn_ratio=1.5).double()
    for mine, its in zip(ours.joint.layers, theirs.layer, strict=True):
        copy_attention(mine.own, its.attention.self, its.attention.output)
        mine.up.load_state_dict(its.intermediate.dense.state_dict())
        mine.down.load_state_dict(its.output.dense.state_dict())
        mine.norm.load_state_dict(its.output.LayerNorm.state_dict())
    states, masks = inputs()
    expected = theirs(torch.cat(states, dim=1), additive(torch.cat(masks, dim=1)))[0]
    found = ours.meet(*states, *masks)
    assert torch.allclose(torch.cat([found.words, found.regions], dim=1), expected, atol=1e-10)
    grads = torch.autograd.grad(expected.square().sum(), states)
    ours_too = torch.cat([found.words, found.regions], dim=1).square().sum()
    torch.testing.assert_close(torch.autograd.grad(ours_too, states), grads)


def test_co_attention_is_that_of_lxmert():
    """Its cross-attention, in both directions with the same weights, as LXMERT shares them."""
    from projects.streams.stream_encoder import StreamEncoder

    cfg = LxmertConfig(hidden_size=16, num_attention_heads=4, intermediate_size=24, **OFF)
    theirs = scatter_weights(LxmertCrossAttentionLayer(cfg)).double()
    ours = StreamEncoder(16, 16, 16, co_layers=1, num_heads=4).double()
    (words_ask,), (regions_ask,) = ours.co_attention.layers, ours.co_attention.other_layers
    states, masks = inputs()
    for layer, order in ((words_ask, 1), (regions_ask, -1)):
        copy_attention(layer.cross, theirs.att, theirs.output)
        (own, other), (_, other_mask) = states[::order], masks[::order]
        expected = theirs(own, other, additive(other_mask))[0]
        maps = []
        for chosen in (None, maps):
            found = layer.cross(own, other, other_mask, chosen)
            torch.testing.assert_close(found, expected)
            grads = torch.autograd.grad(expected.square().sum(), states, retain_graph=True)
            ours_too = torch.autograd.grad(found.square().sum(), states)
            torch.testing.assert_close(ours_too, grads)
