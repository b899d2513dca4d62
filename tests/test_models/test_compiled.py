"""A compiled model has the losses and gradients of a plain one, without a graph break."""

import copy
from types import SimpleNamespace

import pytest
import torch

from eclip_mm.config.loading import load_config
from eclip_mm.engine import CompileHook, PretrainOptimWrapperConstructor
from eclip_mm.models.compiled import compile_parts
from eclip_mm.registry import HOOKS, MODELS
from eclip_mm.testing import fake_batch, tiny_model_config

#: dynamo's and autograd's part, without a compiler for the result
AOT = dict(backend='aot_eager')


def build(recompute=False, compile=None, **overrides):
    """A float64 model, compiled with the options ``compile`` if there are any."""
    torch.manual_seed(0)
    torch.compiler.reset()
    cfg = tiny_model_config(num_blocks=1, **overrides)
    for encoder in (cfg['image_encoder'], cfg['text_encoder']):
        encoder['gradient_checkpointing'] = recompute
    model = MODELS.build(cfg).double().train()
    if compile is not None:
        compile_parts(model, **compile)
    return model


def terms_and_grads(model, batch):
    data = model.data_preprocessor(batch)
    data['inputs']['images'] = data['inputs']['images'].double()
    terms = model(**data, mode='loss')
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    loss = sum(v for k, v in terms.items() if 'loss' in k)
    grads = torch.autograd.grad(loss, list(params.values()))
    return terms, dict(zip(params, grads, strict=True))


QUEUE = dict(type='MomentumQueue', size=16)


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
def test_values_and_gradients_are_those_of_the_plain_model(overrides):
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


def test_the_hook_compiles_a_training_if_it_is_enabled():
    runner = SimpleNamespace(model=build())
    options = dict(type='CompileHook', backend='of another machine')
    HOOKS.build(options).before_train(runner)
    assert not runner.model.compiled
    model = build().float().eval()  # predicting needs no compiler
    batch = model.data_preprocessor(fake_batch())
    assert 'pred_text_feat' in model(**batch, mode='predict')[0]
    with pytest.raises(torch._dynamo.exc.InvalidBackend):
        HOOKS.build(dict(options, enabled=True)).before_train(runner)
    HOOKS.build(dict(type='CompileHook', enabled=True, **AOT)).before_train(runner)
    assert runner.model.compiled


def test_the_base_config_has_the_hook_switched_off(repo_root):
    config = str(repo_root / 'configs/demo/eclip_tiny_synthetic.py')
    hook = HOOKS.build(load_config(config).default_hooks.compile)
    assert isinstance(hook, CompileHook) and not hook.enabled
    cfg = load_config(
        config, {'default_hooks.compile.enabled': True, 'default_hooks.compile.mode': 'default'}
    )
    hook = HOOKS.build(cfg.default_hooks.compile)
    assert hook.enabled and hook.options == dict(mode='default', fullgraph=True)
