"""Adapters: they alone are trained, and leave by their names or inside the weights."""

import copy
import json
import logging

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from eclip_mm.checkpoint.adapters import merge_lora
from eclip_mm.checkpoint.names import canonical_name
from eclip_mm.engine import PretrainOptimWrapperConstructor
from eclip_mm.models.compiled import compile_parts
from eclip_mm.models.encoders import TransformersImageEncoder, TransformersTextEncoder
from eclip_mm.models.encoders.lora import add_lora, summarize
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config
from eclip_mm.utils.env_check import EnvironmentCheckError
from helpers import towers
from helpers.processes import start_ranks
from helpers.rank_runs import train_and_resume

peft = pytest.importorskip('peft')
LoraLayer = peft.tuners.lora.LoraLayer
FIELDS = towers.IMAGE | towers.TEXT
LORA = dict(image=dict(r=2, alpha=3), text=dict(r=4, alpha=4, dropout=0.2))


def config(lora=LORA, freeze=None, layers=2, **overrides):
    cfg = tiny_model_config(lora=copy.deepcopy(lora), freeze=freeze, **overrides)
    for name in ('image_encoder', 'text_encoder'):
        cfg[name]['config'].update(num_hidden_layers=layers)
        cfg[name]['config'].update(hidden_dropout_prob=0.1)
    return cfg


def build(*args, trained=False, seed=0, **overrides):
    torch.manual_seed(seed)
    model = MODELS.build(config(*args, **overrides))
    if trained:  # adapters begin without effect, and the momentum model like the model
        with torch.no_grad():
            for name, param in model.named_parameters():
                if 'lora_B' in name:
                    param.normal_(std=0.1)
    return model.eval()


def features(model):
    batch = model.data_preprocessor(fake_batch())
    with torch.no_grad():
        return torch.cat(model(batch['inputs']))


def step(model):
    batch = model.train().data_preprocessor(fake_batch())
    optimizer = PretrainOptimWrapperConstructor(
        dict(optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.1))
    )(model).optimizer
    model.parse_losses(model(**batch, mode='loss'))[0].backward()
    optimizer.step()
    model.update_teacher(0.0)
    return optimizer


@pytest.mark.parametrize('model_type', FIELDS)
def test_every_linear_of_the_blocks_has_an_adapter(model_type):
    kind = TransformersImageEncoder if model_type in towers.IMAGE else TransformersTextEncoder
    encoder = kind(model_type, FIELDS[model_type])
    linears = [
        name
        for name, module in encoder.model.named_modules()
        # those of embeddings, poolers and heads have no number of a layer in their name
        if isinstance(module, nn.Linear) and any(part.isdigit() for part in name.split('.'))
    ]
    if not linears:
        with pytest.raises(ValueError, match='lora.x: .* nothing to adapt.*no Linear'):
            add_lora(encoder, 'lora.x', dict(r=2))
        return
    add_lora(encoder, 'lora.x', dict(r=2))
    names = [name for name, param in encoder.named_parameters() if param.requires_grad]
    wanted = [f'model.{layer}.lora_{part}.default.weight' for layer in linears for part in 'AB']
    assert sorted(names) == sorted(wanted)
    inputs = dict(images=torch.randn(1, 3, 32, 32))
    if model_type in towers.TEXT:
        inputs = dict(zip(('input_ids', 'attention_mask'), towers.texts(eos=3), strict=True))
    found = encoder(**inputs)
    found = (
        found if isinstance(found, torch.Tensor) else torch.cat([found[0][:, None], found[1]], 1)
    )
    found.square().sum().backward()
    assert not [n for n, p in encoder.named_parameters() if p.requires_grad and p.grad is None]


def test_only_adapters_and_what_is_new_are_trained():
    model = build()
    before = copy.deepcopy(model.state_dict())
    optimizer = step(model)
    for name, value in model.state_dict().items():
        network = name.removeprefix('teacher.')
        in_tower = network.startswith(('network.image_encoder', 'network.text_encoder'))
        if in_tower and '.lora_' not in name:
            assert torch.equal(value, before[name]), name
        elif '.lora_B.' in name:  # A gets no gradient as long as B is 0
            assert not torch.equal(value, before[name]), name
    tower = [p for n, p in model.named_parameters() if '_encoder.' in n and 'teacher' not in n]
    in_optimizer = {id(p) for group in optimizer.param_groups for p in group['params']}
    assert sum(id(param) in in_optimizer for param in tower) == 2 * (12 + 12)
    mine, other = model.network.image_encoder.model, model.teacher.network.image_encoder.model
    assert other.embeddings is mine.embeddings and other.layernorm is mine.layernorm
    (ours, *_), (theirs, *_) = ([layer.mlp.fc1 for layer in m.layers] for m in (mine, other))
    assert theirs.base_layer.weight is ours.base_layer.weight
    assert theirs.lora_B.default.weight is not ours.lora_B.default.weight


def test_without_training_it_is_the_tower():
    torch.testing.assert_close(features(build()), features(build(lora=None)))


def test_dropout_stays_where_something_is_trained():
    model = build(freeze=dict(text=2)).train()  # embeddings and layer 0
    bert = model.network.text_encoder.model
    assert not any(m.training for m in bert.embeddings.modules())
    assert not any(m.training for m in bert.encoder.layer[0].modules())
    last = bert.encoder.layer[1]
    assert last.training and last.intermediate.dense.lora_dropout.default.training
    names = [n for n, p in bert.named_parameters() if p.requires_grad]
    assert names and all(n.startswith('encoder.layer.1.') and 'lora_' in n for n in names)
    assert not model.network.image_encoder.model.layernorm.training


def test_freezing_again_changes_nothing():
    encoder = build().network.image_encoder
    names = [n for n, p in encoder.named_parameters() if p.requires_grad]
    encoder.freeze(encoder.num_frozen)
    assert [n for n, p in encoder.named_parameters() if p.requires_grad] == names
    encoder.freeze(2)
    assert [n for n, p in encoder.named_parameters() if p.requires_grad] == names[12:]


def test_what_is_adapted_is_printed(monkeypatch):
    logger, lines = MMLogger.get_current_instance(), []
    monkeypatch.setattr(logger, 'log', lambda level, line: lines.append((level, line)))
    build()
    lines = [line for line in lines if 'lora.' in line[1]]
    assert [level for level, _ in lines] == 2 * [logging.INFO]  # not for the momentum model
    assert 'lora.image: adapters of rank 2 in 12 Linears of ViTModel, 1,792 trained' in lines[0][1]
    assert 'layers.0-1.attention.q_proj' in lines[0][1] and 'layers.0-1.mlp.fc1' in lines[0][1]
    names = [f's.{k}.blocks.{j}.fc{n}' for k in (0, 1) for j in range(k + 2) for n in (1, 2)]
    assert summarize(names) == ['s.0-1.blocks.0-2.fc1', 's.0-1.blocks.0-2.fc2']


@pytest.mark.parametrize(
    ('lora', 'freeze', 'error', 'match'),
    [
        (dict(image=dict(rank=2)), {}, KeyError, r"lora.image has unknown keys \['rank'\].*alpha"),
        (dict(image=dict(r=0)), {}, ValueError, 'lora.image.r has to be a whole.*got 0'),
        (dict(text=dict(alpha=0)), {}, ValueError, 'lora.text.alpha has to be above 0'),
        (dict(text=dict(dropout=1)), {}, ValueError, r'lora.text.dropout has to lie in \[0, 1\)'),
        (LORA, dict(image='all'), ValueError, 'lora.image.*all of its layer groups are frozen'),
        (dict(picture={}), {}, TypeError, 'picture'),
    ],
)
def test_what_cannot_be_is_an_error(lora, freeze, error, match):
    with pytest.raises(error, match=match):
        build(lora, freeze)


def test_peft_is_asked_for(monkeypatch):
    from eclip_mm.utils import env_check

    monkeypatch.setattr(env_check, '_installed', lambda names: {})
    monkeypatch.setattr(env_check, '_importable', lambda module: False)
    with pytest.raises(EnvironmentCheckError, match="peft is not installed\n.*\n.*'peft>="):
        build()


def old_names(state):
    return {
        key.replace('image_encoder.model.layers.', 'image_encoder.model.encoder.layer.').replace(
            '.attention.q_proj.', '.attention.attention.query.'
        ): value
        for key, value in state.items()
    }


def test_merged_weights_are_those_of_peft():
    model = build(trained=True)
    wanted = features(model)
    merged = merge_lora(model.state_dict())
    plain = build(lora=None, seed=1)
    assert list(merged) == list(plain.state_dict())
    plain.load_state_dict(merged)
    torch.testing.assert_close(features(plain), wanted, rtol=1e-5, atol=1e-6)
    adapted = [m for m in model.network.named_modules() if isinstance(m[1], LoraLayer)]
    assert len(adapted) == 2 * 12
    for name, module in adapted:
        module.merge()
        torch.testing.assert_close(merged[f'network.{name}.weight'], module.base_layer.weight)


@pytest.mark.parametrize('loader', [nn.Module.load_state_dict, load_state_dict])
@pytest.mark.parametrize('rename', [dict, old_names])
@pytest.mark.parametrize('freeze', [None, dict(image='all', text=1)])
def test_a_plain_model_merges_what_it_loads(loader, rename, freeze):
    source = build(trained=True)
    plain = build(lora=None, seed=1, freeze=freeze)
    loader(plain, rename(source.state_dict()))
    torch.testing.assert_close(features(plain), features(source), rtol=1e-5, atol=1e-6)
    if not freeze:
        ours, theirs = plain.teacher.network, source.teacher.network
        images = torch.randn(2, 3, 32, 32)
        torch.testing.assert_close(
            ours.encode_image_feats(images),
            theirs.encode_image_feats(images),
            rtol=1e-5,
            atol=1e-6,
        )


@pytest.mark.parametrize('rename', [dict, old_names])
def test_adapters_begin_from_a_plain_checkpoint(rename):
    source = build(lora=None)
    model = build(seed=1)
    nn.Module.load_state_dict(model, rename(source.state_dict()))  # strict
    torch.testing.assert_close(features(model), features(source))
    adapter = model.network.image_encoder.model.layers[0].mlp.fc1.lora_A.default.weight
    assert adapter.abs().sum() > 0


@pytest.mark.parametrize('rename', [dict, old_names])
def test_adapters_come_back_under_the_names_of_any_version(rename):
    source, model = build(trained=True), build(seed=1)
    nn.Module.load_state_dict(model, rename(source.state_dict()))
    assert torch.equal(features(model), features(source))


def test_adapters_of_layers_that_are_frozen_now_are_merged():
    source = build(trained=True)
    model = build(seed=1, freeze=dict(image=2))
    nn.Module.load_state_dict(model, source.state_dict())
    torch.testing.assert_close(features(model), features(source), rtol=1e-5, atol=1e-6)
    again = build(seed=2)  # layer 0 gets new ones
    nn.Module.load_state_dict(again, model.state_dict())
    torch.testing.assert_close(features(again), features(source), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('image', [dict(r=4, alpha=6), dict(r=2, alpha=4)])
def test_adapters_of_another_rank_or_scaling_are_an_error(image):
    model = build(dict(LORA, image=image))
    with pytest.raises(
        ValueError,
        match=rf'network.image_encoder: the checkpoint has .* r=2, alpha=3, but.*r={image["r"]}, '
        rf'alpha={image["alpha"]}: .*--merge',
    ):
        nn.Module.load_state_dict(model, build().state_dict())


def test_names_with_adapters_have_one_spelling():
    """A version may rename modules around an adapter, never its inside."""
    for part in ('base_layer', 'lora_A.default', 'lora_B.default'):
        name = 'encoder.layer.0.attention.attention.query'
        wanted = canonical_name(f'{name}.weight').replace('weight', f'{part}.weight')
        assert canonical_name(f'{name}.{part}.weight') == wanted


def test_a_chunked_step_has_the_gradients_of_a_whole_one():
    lora = dict(image=dict(r=2), text=dict(r=2))
    grads = []
    for chunk_size in (None, 3):
        model = build(lora, trained=True, chunk_size=chunk_size)  # in eval mode: no dropout
        batch = model.data_preprocessor(fake_batch())
        model.parse_losses(model(**batch, mode='loss'))[0].backward()
        grads.append({n: p.grad for n, p in model.named_parameters() if 'lora_' in n})
    for name, grad in grads[0].items():
        if grad is not None:
            torch.testing.assert_close(grads[1][name], grad, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_compiled_step_is_the_plain_one():
    terms = []
    for compiled in (False, True):
        torch.compiler.reset()
        cfg = config(layers=1, num_blocks=1)
        cfg['image_encoder']['patch_dropout'] = 0.5
        for name in ('image_encoder', 'text_encoder'):
            cfg[name]['config']['hidden_dropout_prob'] = 0.0
        cfg['lora']['text']['dropout'] = 0.0
        torch.manual_seed(0)
        model = MODELS.build(cfg).train()
        if compiled:
            compile_parts(model, backend='aot_eager')
        terms.append([])
        for seed in range(2):
            torch.manual_seed(seed)
            batch = model.data_preprocessor(fake_batch(seed=seed, num_tokens=9))
            found = model(**batch, mode='loss')
            model.parse_losses(found)[0].backward()
            terms[-1].append(found['loss_itc'].detach())
        terms[-1] += [p.grad for n, p in model.named_parameters() if p.requires_grad]
        with torch.no_grad():  # another graph: all patches
            model.eval()(**batch, mode='predict')
    for found, wanted in zip(*terms, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def _model():
    cfg = config(embed_dims=16, num_blocks=1, freeze=dict(text=2))
    cfg['text_encoder']['length_groups'] = 1
    for encoder in ('image_encoder', 'text_encoder'):  # draws differ between two ranks
        cfg[encoder]['config']['hidden_dropout_prob'] = 0.0
    cfg['lora']['text']['dropout'] = 0.0
    return cfg


@pytest.mark.slow
@pytest.mark.alone
def test_adapters_train_and_resume_on_two_ranks(tmp_path):
    start_ranks(train_and_resume, tmp_path, _model)
    states = {
        name: torch.load(tmp_path / name / 'iter_4.pth', weights_only=True)['state_dict']
        for name in ('ddp', 'sharded', 'ddp_resumed', 'sharded_resumed')
    }
    moved = [name for name, value in states['ddp'].items() if 'lora_B' in name and value.any()]
    assert len(moved) == 2 * (12 + 6)
    for name, state in states.items():
        assert list(state) == list(states['ddp'])
        for key, value in states['ddp'].items():
            torch.testing.assert_close(
                state[key], value, rtol=1e-4, atol=1e-5, msg=f'{name} {key}'
            )


def saved(model, cfg, path):
    text = Config(dict(model=cfg, test_pipeline=[])).pretty_text
    torch.save(dict(state_dict=model.state_dict(), meta=dict(cfg=text), optimizer={}), path)
    return str(path)


@pytest.mark.parametrize('network', ['network', 'teacher.network'])
def test_peft_reads_exported_adapters(network, tmp_path, program):
    cfg, model = config(), build(trained=True)
    step(model)
    model.eval()
    path = saved(model, cfg, tmp_path / 'c.pth')
    options = ['--teacher'] if network.startswith('teacher') else []
    out, _ = program('export_lora.py', path, str(tmp_path / 'adapters'), *options)
    assert out.split() == [str(tmp_path / 'adapters' / f'{n}_encoder') for n in ('image', 'text')]
    plain = build(lora=None)  # the same seed: the towers that the training began with
    for name in ('image_encoder', 'text_encoder'):
        base = plain.network.get_submodule(name).model
        found = peft.PeftModel.from_pretrained(base, tmp_path / 'adapters' / name).eval()
        fields = json.loads((tmp_path / 'adapters' / name / 'adapter_config.json').read_text())
        options = LORA[name.removesuffix('_encoder')]
        assert (fields['r'], fields['lora_alpha']) == (options['r'], options['alpha'])
        assert fields['lora_dropout'] == options.get('dropout', 0.0)
        inputs = dict(pixel_values=torch.randn(1, 3, 32, 32))
        if name == 'text_encoder':
            inputs = dict(input_ids=torch.arange(3, 9)[None])
        with torch.no_grad():
            wanted = model.get_submodule(f'{network}.{name}').model(**inputs)
            ours = found(**inputs)
        torch.testing.assert_close(ours.last_hidden_state, wanted.last_hidden_state)


def test_a_merged_checkpoint_needs_no_adapters(tmp_path, program):
    from eclip_mm.checkpoint.metadata import read_saved_config

    cfg, model = config(), build(trained=True)
    path = saved(model, cfg, tmp_path / 'c.pth')
    merged = str(tmp_path / 'merged.pth')
    program('export_lora.py', path, merged, '--merge')
    found = read_saved_config(merged)['model']
    assert 'lora' not in found and 'lora' in read_saved_config(path)['model']
    plain = MODELS.build(found).eval()
    plain.load_state_dict(torch.load(merged, weights_only=True)['state_dict'])
    torch.testing.assert_close(features(plain), features(model), rtol=1e-5, atol=1e-6)
    for options, message in (
        (['--merge'], 'merged.pth has no adapters to merge'),
        ([], 'merged.pth has no adapters named network.image_encoder'),
    ):
        assert (
            message in program('export_lora.py', merged, tmp_path / 'x', *options, expected=1)[1]
        )


@pytest.mark.ops
def test_a_detector_takes_the_merged_tower(tmp_path):
    import eclip_mm.models.detection  # noqa: F401

    cfg, model = config(), build(trained=True)
    path = saved(model, cfg, tmp_path / 'c.pth')
    backbone = MODELS.build(
        dict(type='EclipBackbone', init_cfg=dict(type='Pretrained', checkpoint=path))
    ).eval()
    backbone.init_weights()
    images = torch.randn(1, 3, 32, 32)
    tokens = model.network.image_encoder(images)[1]
    ours = backbone(images)[0].flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours, tokens, rtol=1e-5, atol=1e-6)
    assert all(param.requires_grad for param in backbone.encoder.model.layers.parameters())
