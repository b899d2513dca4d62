"""A chunked step has the losses, gradients and new weights of the whole batch."""

import pytest
import torch
from mmengine.optim import OptimWrapper

from eclip_mm.models import chunked
from eclip_mm.models.chunked import in_chunks
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config

BATCH = 7
TASKS = ('itc', 'inter', 'itm', 'intra')


def build(chunk_size=None, tasks=TASKS, dropout=0.0, **overrides):
    """A float64 model whose momentum model has other weights, so that both matter."""
    cfg = tiny_model_config(chunk_size=chunk_size, **overrides)
    for name in set(TASKS) - set(tasks):
        cfg['pretext_heads'][name] = None
    if dropout:
        for encoder in ('image_encoder', 'text_encoder'):
            cfg[encoder]['config'].update(hidden_dropout_prob=dropout)
        cfg['decoder'].update(dropout=dropout)
    torch.manual_seed(0)
    model = MODELS.build(cfg).double()
    if model.teacher is not None:
        with torch.no_grad():
            for param in model.teacher.parameters():
                param.add_(0.01)
    return model


def batch():
    """Rows 1 and 5 are one product, in different chunks."""
    data = fake_batch(BATCH)
    data['data_samples'][5].set_metainfo(dict(product_id=data['data_samples'][1].product_id))
    return data


def terms_and_grads(model):
    data = model.data_preprocessor(batch())
    data['inputs']['images'] = data['inputs']['images'].double()
    torch.manual_seed(1)  # of dropout
    terms = model(**data, mode='loss')
    model.parse_losses(terms)[0].backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    return {name: value.detach() for name, value in terms.items()}, grads


def assert_same(found, wanted, rtol=1e-9, atol=1e-12):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(
            found[name], value, rtol=rtol, atol=atol, msg=lambda m, name=name: f'{name}: {m}'
        )


@pytest.mark.parametrize(
    'chunk_size, tasks',
    [
        (1, TASKS),
        (3, TASKS),  # 3 + 3 + 1
        (6, TASKS),
        (BATCH, TASKS),
        (100, TASKS),
        *((2, (task,)) for task in TASKS),
    ],
)
def test_losses_and_gradients_are_those_of_the_whole_batch(chunk_size, tasks):
    terms, grads = terms_and_grads(build(tasks=tasks))
    in_parts, grads_in_parts = terms_and_grads(build(chunk_size, tasks))
    assert_same(in_parts, terms)
    assert_same(grads_in_parts, grads)
    assert grads['network.text_proj.weight'].abs().max() > 1e-3


@pytest.mark.parametrize('image_prob', [0.0, 1.0])
def test_prompts_of_one_kind(image_prob):
    prompts = dict(type='PromptSampler', image_prob=image_prob)
    wanted = terms_and_grads(build(prompts=prompts))
    found = terms_and_grads(build(2, prompts=prompts))
    assert_same(found[0], wanted[0])
    assert_same(found[1], wanted[1])


def test_weights_after_clipped_steps_and_the_momentum_models_are_the_same():
    def train(chunk_size):
        model = build(chunk_size)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        wrapper = OptimWrapper(optimizer, clip_grad=dict(max_norm=0.5))
        for step in range(3):
            data = batch()
            data['inputs']['images'] = data['inputs']['images'].double()
            model.train_step(data, wrapper)
            model.update_teacher(progress=step / 3)
        return {k: v for k, v in model.state_dict().items() if torch.is_tensor(v)}

    before = build().state_dict()
    wanted, found = train(None), train(3)
    assert_same(found, wanted, rtol=1e-6, atol=1e-8)  # AdamW divides by small gradients
    for name in ('network.image_proj.weight', 'teacher.network.image_proj.weight'):
        assert not torch.allclose(before[name], wanted[name], rtol=1e-3)


def test_dropout_repeats_its_draws(monkeypatch):
    """Against the same chunks with all activations kept."""
    found = terms_and_grads(build(3, dropout=0.3))
    monkeypatch.setattr(chunked, 'checkpoint', lambda function, *rows, **kwargs: function(*rows))
    wanted = terms_and_grads(build(3, dropout=0.3))
    assert_same(found[0], wanted[0])
    assert_same(found[1], wanted[1])
    without = terms_and_grads(build(3))
    assert not torch.allclose(without[0]['loss_itc'], wanted[0]['loss_itc'], rtol=1e-3)


def test_no_more_than_a_chunk_is_in_memory():
    model = build(2)
    seen, saved = [], []
    for tower in (model.network, model.teacher.network):
        for module in (tower.image_encoder, tower.text_encoder, tower.decoder):
            module.register_forward_hook(lambda m, args, out: seen.append(len(args[0])))
    data = model.data_preprocessor(batch())
    data['inputs']['images'] = data['inputs']['images'].double()
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: saved.append(x.shape) or x, lambda x: x
    ):
        model(**data, mode='loss')
    assert set(seen) == {2, 1}
    # the chunks' inputs and what the losses read; tokens of neither encoder, no attention
    tokens = (32 // 8) ** 2
    assert {len(s) for s in saved} <= {0, 1, 2, 3, 4}
    assert all(s[1:] == (3, 32, 32) for s in saved if len(s) == 4)
    assert {s[1] for s in saved if len(s) == 3} <= {1, 4, tokens}  # positive, queries, last M


def test_bf16_sums_the_chunks_in_float32():
    """Summed in bf16, 64 chunks of one row would lose most of the last ones."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 8, bias=False)
    x = torch.rand(1024, 8) + 0.5  # all of one sign: the sum grows
    wanted = x.sum(dim=0).expand(8, 8)
    for chunk_size in (None, 1):
        layer.zero_grad()
        with torch.autocast('cpu', torch.bfloat16):
            out = in_chunks(layer, chunk_size, x)
        out.float().sum().backward()
        # one rounding to bf16: 2^-9 on either side
        torch.testing.assert_close(layer.weight.grad, wanted, rtol=0.004, atol=0)


def test_bf16_autocast_stays_close():
    def grads(chunk_size):
        model = build(chunk_size).float()
        with torch.autocast('cpu', torch.bfloat16):
            terms = model(**model.data_preprocessor(batch()), mode='loss')
        model.parse_losses(terms)[0].backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    whole, parts = grads(None), grads(2)
    # bf16 rounds a batch of 2 otherwise than one of 7
    assert (parts - whole).norm() < 0.02 * whole.norm()


def test_batch_normalisation_is_refused():
    encoder = dict(
        type='TransformersImageEncoder',
        model_type='regnet',
        config=dict(embedding_size=8, hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1]),
    )
    with pytest.raises(ValueError, match='chunk_size=2: image_encoder.*BatchNorm2d.*statistics'):
        build(2, image_encoder=encoder)
    build(image_encoder=encoder)


def test_a_chunk_without_rows_is_refused():
    with pytest.raises(ValueError, match='chunk_size must be at least 1'):
        build(0)
