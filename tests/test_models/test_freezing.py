"""Layer groups of towers: frozen parts stay as they are, in every respect."""

import copy

import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from eclip_mm.engine import PretrainOptimWrapperConstructor
from eclip_mm.models.encoders import TransformersImageEncoder, TransformersTextEncoder
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch, tiny_model_config
from helpers import towers
from helpers.processes import start_ranks
from helpers.rank_runs import train_and_resume

FIELDS = towers.IMAGE | towers.TEXT


def encoder(model_type):
    kind = TransformersImageEncoder if model_type in towers.IMAGE else TransformersTextEncoder
    built = kind(model_type, FIELDS[model_type])
    built.length_groups = 1
    return built


@pytest.mark.parametrize('model_type', FIELDS)
def test_groups_hold_every_parameter_once_and_in_order(model_type):
    built = encoder(model_type)
    groups = built.layer_groups()
    held = [param for group in groups for param in group.parameters()]
    assert sorted(map(id, held)) == sorted(map(id, built.model.parameters()))
    names = [group.name for group in groups]
    num_layers = sum(name.startswith('layer') for name in names)
    depths = getattr(built.model.config, 'depths', None)
    if model_type not in ('efficientnet', 'mobilenet_v2'):
        wanted = sum(depths) if depths else 2
        assert num_layers == (1 if model_type == 'albert' else wanted)
    assert names[: num_layers + 1] == ['embeddings', *(f'layer {k}' for k in range(num_layers))]
    assert names[num_layers + 1 :] in (['final'], [])
    # no group reaches an earlier one: what a later one changes does not change it
    inputs = dict(images=torch.randn(1, 3, 32, 32))
    if model_type in towers.TEXT:
        inputs = dict(zip(('input_ids', 'attention_mask'), towers.texts(eos=3), strict=True))
    order = []
    for number, group in enumerate(groups):
        for module in group.modules:
            module.register_forward_pre_hook(lambda *_, n=number: order.append(n))
    built.eval()(**inputs)
    ranked = [n for n in order if model_type != 'mpnet' or n]  # its bias is computed once more
    assert ranked == sorted(ranked) and set(ranked) >= set(range(1, num_layers + 1))


BATCH_NORM = dict(
    type='TransformersImageEncoder',
    model_type='efficientnet',
    config=dict(width_coefficient=0.25, depth_coefficient=0.3, hidden_dim=320, dropout_rate=0.5),
)


def model(freeze, **overrides):
    torch.manual_seed(0)
    cfg = tiny_model_config(freeze=freeze, **overrides)
    cfg['text_encoder']['config'].update(num_hidden_layers=2, hidden_dropout_prob=0.5)
    return MODELS.build(cfg)


def step(built):
    batch = built.data_preprocessor(fake_batch())
    optimizer = PretrainOptimWrapperConstructor(
        dict(optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.1))
    )(built).optimizer
    built.parse_losses(built(**batch, mode='loss'))[0].backward()
    optimizer.step()
    built.update_teacher(0.0)
    return optimizer


@pytest.mark.parametrize('image', [3, 'all'])
def test_frozen_parts_stay_as_they_are(image):
    built = model(dict(image=image, text=2), image_encoder=copy.deepcopy(BATCH_NORM)).train()
    state = copy.deepcopy(built.state_dict())
    frozen = built.network.frozen_parts()
    assert frozen and not any(p.requires_grad for m in frozen for p in m.parameters())
    assert not any(inner.training for m in frozen for inner in m.modules())
    optimizer = step(built)
    ours = {id(param) for m in frozen for param in m.parameters()}
    assert not ours & {id(param) for param in optimizer.state}
    frozen_state = {id(t) for m in frozen for t in m.state_dict(keep_vars=True).values()}
    changed = 0
    for name, tensor in built.state_dict(keep_vars=True).items():
        if id(tensor) in frozen_state:  # weights and running means
            assert torch.equal(tensor, state[name]), name
        elif name.startswith('network.') and tensor.is_floating_point():
            changed += not torch.equal(tensor, state[name])
    assert changed > 20
    norms = [m for m in built.network.image_encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert any(m.training for m in norms) == (image != 'all')
    built.eval()
    assert not any(m.training for m in built.modules())


def test_the_momentum_model_shares_what_is_frozen():
    built = model(dict(image='all', text=1))
    mine, other = built.network, built.teacher.network
    assert other.image_encoder.model is mine.image_encoder.model
    bert, teachers = mine.text_encoder.model, other.text_encoder.model
    assert teachers.embeddings is bert.embeddings
    assert teachers.encoder.layer[0] is not bert.encoder.layer[0]
    assert other.image_proj is not mine.image_proj
    whole = model({})
    assert list(built.state_dict()) == list(whole.state_dict())  # files stay what they are
    before = copy.deepcopy(teachers.encoder.layer[0].state_dict())
    step(built)
    after = teachers.encoder.layer[0].state_dict()
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert other.train().text_encoder.training  # a call from outside
    assert not built.teacher.train().network.text_encoder.training
    assert not bert.embeddings.training


@pytest.mark.parametrize('image', ['all', 1])
@pytest.mark.parametrize('loader', ['torch', 'mmengine'])
@pytest.mark.parametrize('has_old_names', [False, True])
def test_a_frozen_tower_starts_from_the_network_of_an_unfrozen_checkpoint(
    image, loader, has_old_names
):
    source = model({})
    step(source)  # the teacher lags behind
    state = source.state_dict()
    name = 'image_encoder.model.embeddings.cls_token'
    assert not torch.equal(state[f'network.{name}'], state[f'teacher.network.{name}'])
    wanted = copy.deepcopy(state)
    if has_old_names:
        state = {
            key.replace('model.layers.', 'model.encoder.layer.').replace(
                'mlp.fc1', 'intermediate.dense'
            ): value
            for key, value in state.items()
        }
    built = model(dict(image=image, text=1))
    (nn.Module.load_state_dict if loader == 'torch' else load_state_dict)(built, state)
    shared = {f'teacher.network.{n}' for n in built.teacher.shared_names}
    assert shared and len(shared) < len(built.teacher.network.state_dict())
    for key, value in built.state_dict().items():
        source_key = key.removeprefix('teacher.') if key in shared else key
        assert torch.equal(value, wanted[source_key]), key


def test_freezing_twice_changes_nothing_and_can_be_undone():
    built = encoder('clip_vision_model')
    built.pooling, trained = 'cls', [n for n, p in built.named_parameters() if p.requires_grad]

    def found():
        return [n for n, p in built.named_parameters() if p.requires_grad]

    built.freeze(2)
    once = found()
    assert 0 < len(once) < len(trained)
    built.freeze(2)
    assert found() == once
    built.freeze(-2)  # of embeddings, layer 0, layer 1, final: the last two are trained
    assert found() == once
    built.freeze('all')
    assert not found() and not built.train().model.training
    built.freeze(0)
    assert found() == trained and built.train().model.training
    dino = encoder('dinov2')
    dino.freeze(1)
    dino.freeze(0)
    assert not dino.model.embeddings.mask_token.requires_grad  # which nothing uses


@pytest.mark.parametrize('wanted', [5, -5, 'most', 1.0, True])
def test_what_there_is_not_cannot_be_frozen(wanted):
    with pytest.raises(ValueError, match=r"freeze.image=.*'all' or a number of the 4 .*layer 1"):
        cfg = tiny_model_config(freeze=dict(image=wanted))
        cfg['image_encoder']['config']['num_hidden_layers'] = 2
        MODELS.build(cfg)


def test_an_unknown_tower_is_an_error():
    with pytest.raises(TypeError, match='picture'):
        model(dict(picture='all'))


def test_frozen_batch_norms_need_no_whole_batch():
    built = model(dict(image='all'), image_encoder=copy.deepcopy(BATCH_NORM), chunk_size=2)
    step(built.train())
    with pytest.raises(ValueError, match='chunk_size=2: image_encoder'):
        model(dict(image=3), image_encoder=copy.deepcopy(BATCH_NORM), chunk_size=2)


def _model():
    cfg = tiny_model_config(embed_dims=16, num_blocks=1, freeze=dict(image=1, text='all'))
    cfg['image_encoder']['config']['num_hidden_layers'] = 2
    cfg['text_encoder']['length_groups'] = 1
    return cfg


@pytest.mark.slow
@pytest.mark.alone
def test_frozen_towers_train_and_resume_on_two_ranks(tmp_path):
    start_ranks(train_and_resume, tmp_path, _model)
    states = {
        name: torch.load(tmp_path / name / 'iter_4.pth', weights_only=True)['state_dict']
        for name in ('ddp', 'sharded', 'ddp_resumed', 'sharded_resumed')
    }
    for name, state in states.items():
        assert list(state) == list(states['ddp'])
        for key, value in states['ddp'].items():
            torch.testing.assert_close(
                state[key], value, rtol=1e-4, atol=1e-5, msg=f'{name} {key}'
            )


def test_batch_norms_keep_their_statistics_while_their_weights_are_trained():
    encoder = MODELS.build(
        dict(
            type='TransformersImageEncoder',
            model_type='efficientnet',
            config=dict(towers.IMAGE['efficientnet']),
            norm_eval=True,
        )
    )
    encoder.freeze(3)
    norms = [m for m in encoder.train().modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    encoder(torch.randn(2, 3, 32, 32))[1].square().mean().backward()
    assert encoder.training and norms and not any(norm.training for norm in norms)
    torch.testing.assert_close([norm.running_mean for norm in norms], before, rtol=0, atol=0)
    assert norms[-1].weight.grad is not None and norms[0].weight.grad is None
