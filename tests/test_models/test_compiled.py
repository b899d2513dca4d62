"""A compiled model trains on the plain one's losses and gradients, without a graph break."""

import copy

import pytest
import torch

from eclip_mm.engine import PretrainOptimWrapperConstructor
from eclip_mm.models.compiled import compile_parts
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config

#: dynamo's and autograd's part, without a compiler for the result
AOT = dict(backend='aot_eager')


def build(recompute=False, **overrides):
    torch.manual_seed(0)
    torch.compiler.reset()
    cfg = tiny_model_config(num_blocks=1, **overrides)
    for encoder in (cfg['image_encoder'], cfg['text_encoder']):
        encoder['gradient_checkpointing'] = recompute
    return MODELS.build(cfg).double().train()


def terms_and_grads(model, batch):
    data = model.data_preprocessor(batch)
    data['inputs']['images'] = data['inputs']['images'].double()
    terms = model(**data, mode='loss')
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    loss = sum(v for k, v in terms.items() if 'loss' in k)
    grads = torch.autograd.grad(loss, list(params.values()))
    return terms, dict(zip(params, grads, strict=True))


QUEUE = dict(type='MomentumQueue', size=16, embed_dims=32)


@pytest.mark.slow
@pytest.mark.parametrize(
    'overrides',
    [
        {},
        dict(
            recompute=True,
            chunk_size=3,
            pretext_heads=dict(inter=dict(type='InterProductHead', queue=QUEUE)),
        ),
    ],
    ids=['paper', 'recompute-chunks-queue'],
)
def test_values_and_gradients_are_the_plain_models(overrides):
    plain, compiled = build(**overrides), build(**overrides, compile=AOT)
    compiled.load_state_dict(plain.state_dict())  # the names are the same
    for seed in range(2):  # the second batch has texts of other lengths
        batch = fake_batch(6, num_tokens=9, seed=seed)
        terms, grads = terms_and_grads(plain, batch)
        found_terms, found_grads = terms_and_grads(compiled, batch)
        for found, wanted in ((found_terms, terms), (found_grads, grads)):
            assert found.keys() == wanted.keys()
            for name in wanted:
                torch.testing.assert_close(
                    found[name], wanted[name], rtol=1e-9, atol=1e-12, msg=name
                )


@pytest.mark.slow
def test_a_whole_step_has_no_graph_break():
    model = build(compile=dict(AOT, fullgraph=False)).float()
    optim = PretrainOptimWrapperConstructor(
        dict(type='BF16OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
    )(model)
    torch._dynamo.utils.counters.clear()
    for seed in range(2):
        model.train_step(fake_batch(6, num_tokens=9, seed=seed), optim)
    assert not torch._dynamo.utils.counters['graph_break']
    graphs = torch._dynamo.utils.counters['stats']['unique_graphs']
    # image encoder, text encoder and decoder of two networks, four heads
    assert graphs >= 10
    model.train_step(fake_batch(6, num_tokens=10, seed=2), optim)  # lengths are symbols by now
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] == graphs


def test_what_breaks_a_graph_is_an_error():
    class Breaking(torch.nn.LayerNorm):
        def forward(self, x):
            torch._dynamo.graph_break()
            return super().forward(x)

    model = build(compile=AOT)
    embeddings = model.network.text_encoder.model.embeddings
    embeddings.LayerNorm = Breaking(32, dtype=torch.float64)
    with pytest.raises(torch._dynamo.exc.Unsupported):
        terms_and_grads(model, fake_batch(6))


def test_a_copy_is_a_plain_model_with_weights_of_its_own():
    model, plain = build(), build()
    compile_parts(model, **AOT)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for param in (*other.parameters(), *plain.parameters()):
            param.add_(0.01)
    batch = fake_batch(6)
    wanted, grads = terms_and_grads(plain, batch)
    found, found_grads = terms_and_grads(other, batch)
    assert torch.equal(found['loss_intra'], wanted['loss_intra'])
    for name, grad in grads.items():
        assert torch.equal(found_grads[name], grad), name


def test_prediction_needs_no_compiler():
    model = build(compile=dict(backend='of another machine')).float().eval()
    batch = model.data_preprocessor(fake_batch())
    assert 'pred_text_feat' in model(**batch, mode='predict')[0]
    with pytest.raises(torch._dynamo.exc.InvalidBackend):
        model(**batch, mode='loss')
