"""Weights of towers load under the parameter names of transformers 4 and 5 alike."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from transformers.core_model_loading import revert_weight_conversion

from eclip_mm.checkpoint.names import canonical_name, rename_weights
from eclip_mm.models.encoders import TransformersImageEncoder, TransformersTextEncoder
from eclip_mm.registry import MODELS
from eclip_mm.testing import tiny_model_config
from helpers import towers
from helpers.runs import make_runner

#: model_type -> names in transformers 4.50.3 (DINOv3: 4.57.3) of the towers of `towers.py`
NAMES_4 = json.loads((Path(__file__).parent / 'names_4.json').read_text())
FIELDS = towers.IMAGE | towers.TEXT


def encoder(model_type):
    kind = TransformersImageEncoder if model_type in towers.IMAGE else TransformersTextEncoder
    torch.manual_seed(0)
    built = kind(model_type, FIELDS[model_type])
    for param in built.parameters():
        torch.nn.init.normal_(param)  # no two are equal
    return built


def with_old_names(built, model_type):
    """A state dict as transformers 4 would have written it."""
    old = {canonical_name(name): name for name in NAMES_4[model_type]}
    assert len(old) == len(NAMES_4[model_type])
    state = {
        f'model.{old[canonical_name(name)]}': value.clone()
        for name, value in built.model.state_dict().items()
    }
    if model_type == 'swin':
        index = 'model.encoder.layers.0.blocks.0.attention.self.relative_position_index'
        state[index] = torch.zeros(4, 4, dtype=torch.int64)
    return state


@pytest.mark.parametrize('model_type', NAMES_4)
def test_a_file_with_old_names_loads(model_type):
    source = encoder(model_type)
    old = with_old_names(source, model_type)
    target = encoder(model_type)
    for param in target.parameters():
        torch.nn.init.zeros_(param)
    target.load_state_dict(old)
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name
    # inside of a model, by its own loader
    model = torch.nn.ModuleDict(dict(tower=target))
    model.load_state_dict({f'tower.{name}': value for name, value in old.items()})
    old.pop(next(iter(old)))
    with pytest.raises(RuntimeError, match='Missing key'):
        target.load_state_dict(old)


@pytest.mark.parametrize('model_type', NAMES_4)
def test_new_names_load_where_transformers_4_is_installed(model_type):
    source = encoder(model_type)
    old_tower = torch.nn.Module()  # whose names are those of version 4
    for name in NAMES_4[model_type]:
        *path, last = name.split('.')
        module = old_tower
        for part in path:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = module._modules[part]
        module.register_buffer(last, torch.zeros(()))
    state = {f'x.{name}': value for name, value in source.model.state_dict().items()}
    rename_weights(state, old_tower, 'x.')
    assert state.keys() == {f'x.{name}' for name in NAMES_4[model_type]}


@pytest.mark.parametrize('model_type', towers.IMAGE)
def test_transformers_own_reversed_renaming_is_undone(model_type):
    """An independent source of old names: what transformers 5 writes for version 4."""
    source = encoder(model_type)
    old = revert_weight_conversion(source.model, source.model.state_dict())
    target = encoder(model_type)
    for param in target.parameters():
        torch.nn.init.zeros_(param)
    target.load_state_dict({f'model.{name}': value for name, value in old.items()})
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name


def test_one_tensor_of_version_4_that_version_5_has_in_two():
    config = dict(towers.DINO, use_swiglu_ffn=True)
    source, target = (TransformersImageEncoder('dinov2', config) for _ in range(2))
    old = revert_weight_conversion(source.model, source.model.state_dict())
    assert any('weights_in' in name for name in old)
    target.load_state_dict({f'model.{name}': value for name, value in old.items()})
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name
    joined = torch.nn.Module()
    joined.mlp = torch.nn.Module()
    joined.mlp.weights_in = torch.nn.Linear(4, 6)
    joined = torch.nn.ModuleList([joined])
    halves = {
        f'0.mlp.{part}_proj.{kind}': torch.randn(3, 4)[: 3 if kind == 'weight' else 1].squeeze()
        for part in ('gate', 'up')
        for kind in ('weight',)
    }
    wanted = torch.cat([halves['0.mlp.gate_proj.weight'], halves['0.mlp.up_proj.weight']])
    rename_weights(halves, joined)
    assert torch.equal(halves['0.mlp.weights_in.weight'], wanted)


@pytest.mark.parametrize('model_type', FIELDS)
def test_two_weights_never_get_one_name(model_type):
    names = list(encoder(model_type).model.state_dict())
    assert len({canonical_name(name) for name in names}) == len(names)


def old_checkpoint(folder, order=None):
    """Of a short training, with the names of transformers 4 in all towers."""
    make_runner(folder).train()
    path = folder / 'iter_4.pth'
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint['meta']['transformers_version'] == transformers.__version__
    state, renamed = checkpoint['state_dict'], {}
    for name, value in state.items():
        head, sep, rest = name.partition('image_encoder.model.')
        for new, old in (
            ('layers.', 'encoder.layer.'),
            ('attention.q_proj', 'attention.attention.query'),
            ('attention.k_proj', 'attention.attention.key'),
            ('attention.v_proj', 'attention.attention.value'),
            ('attention.o_proj', 'attention.output.dense'),
            ('mlp.fc1', 'intermediate.dense'),
            ('mlp.fc2', 'output.dense'),
        ):
            rest = rest.replace(new, old) if sep else rest
        renamed[head + sep + rest] = value
    assert sum('attention.attention.query' in name for name in renamed) == 4
    if order:
        renamed = dict(sorted(renamed.items(), key=order))
    torch.save(dict(checkpoint, state_dict=renamed), path)
    return path, state


@pytest.mark.slow
def test_a_training_resumes_and_starts_from_an_old_named_checkpoint(tmp_path):
    path, state = old_checkpoint(tmp_path / 'old')
    for options in (dict(resume=True), {}):
        runner = make_runner(tmp_path / 'new', load_from=str(path), **options)
        runner.load_or_resume()
        for name, value in runner.model.state_dict().items():
            if options or name != '_extra_state':
                assert torch.equal(value, state[name]), name
    # as a library
    model = MODELS.build(tiny_model_config(embed_dims=16, num_blocks=1))
    model.load_state_dict(torch.load(path, weights_only=True)['state_dict'])


@pytest.mark.slow
def test_an_optimiser_of_another_order_is_refused(tmp_path):
    """ViT has query, key, value in version 4 and another order in version 5."""
    path, _ = old_checkpoint(tmp_path / 'old', order=lambda item: 'query' in item[0])
    runner = make_runner(tmp_path / 'new', load_from=str(path), resume=True)
    with pytest.raises(ValueError, match=r'image_encoder in another order.*without resume'):
        runner.load_or_resume()
    make_runner(tmp_path / 'new', load_from=str(path)).load_or_resume()
