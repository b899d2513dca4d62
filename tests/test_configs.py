"""Every file under configs/: it parses, its parts build, its model trains."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from eclip_mm.config.loading import load_config
from eclip_mm.engine import PretrainOptimWrapperConstructor
from eclip_mm.registry import HOOKS, METRICS, MODELS, TRANSFORMS
from eclip_mm.testing import fake_batch
from helpers.towers import DUAL, IMAGE

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
#: those of configs/detection need mmdet and have tests of their own
FILES = sorted(
    str(path.relative_to(CONFIGS))
    for path in CONFIGS.rglob('*.py')
    if 'detection' not in path.parts
)
#: that train; those of configs/evaluation have no model
FULL = [
    name
    for name in FILES
    if not name.startswith(('_base_', 'comparison', 'evaluation'))
    and name != 'adapt.py'  # needs a catalogue, see test_apis/test_adaptation.py
    and name != 'embed.py'  # has no model, see test_tools/test_journey.py
]
TASKS = {'itc', 'inter', 'itm', 'intra'}


def load(name):
    cfg = load_config(str(CONFIGS / name))
    for encoder in ('image_encoder', 'text_encoder'):
        cfg.model[encoder].pretrained = None
    if cfg.model.get('pretrained_dual'):  # a small one with random weights
        family = 'siglip' if 'siglip' in name else 'clip'
        small = DUAL[family]
        cfg.model.pretrained_dual = dict(model_type=family, config=small)
        cfg.model.embed_dims = small.get('projection_dim', 32)
        cfg.model.decoder.num_heads = 4
    return cfg


def tasks_of(name) -> set[str]:
    """What a config's name promises (DESIGN section 5)."""
    stem = Path(name).stem
    if stem.startswith('clip_'):
        return {'itc'}
    return TASKS - set(re.findall(r'no-([a-z]+)', stem))


@pytest.mark.parametrize('name', FILES)
def test_it_parses(name):
    assert len(Config.fromfile(CONFIGS / name)) > 0


@pytest.mark.parametrize('name', FULL)
def test_the_model_builds_with_the_tasks_of_its_name(name):
    cfg = load(name)
    # the small dual encoders have weights, of which the scale is read
    with torch.device('cpu' if cfg.model.get('pretrained_dual') else 'meta'):
        model = MODELS.build(cfg.model)
    assert set(model.heads) == tasks_of(name)
    assert (model.network.decoder is None) == (tasks_of(name) == {'itc'})
    assert (model.teacher is None) == (tasks_of(name) == {'itc'})


@pytest.mark.parametrize('name', FULL)
def test_the_other_parts_build(name):
    cfg = load(name)
    hooks = [hook for hook in [*cfg.default_hooks.values(), *cfg.get('custom_hooks', [])] if hook]
    names = {type(HOOKS.build(hook)).__name__ for hook in hooks}
    assert {
        'TeacherUpdateHook',
        'StepSeedHook',
        'PlainCheckpointHook',
        'KeepingCheckpointHook',
    } <= names
    for metric in cfg.val_evaluator or ():  # a config may train without validation
        if 'catalogue' not in metric:  # needs the file
            METRICS.build(metric)
    loaders = [cfg.train_dataloader, cfg.val_dataloader]
    datasets = [loader.dataset for loader in loaders if loader]
    for dataset in datasets:
        for part in dataset.get('datasets', [dataset]):
            for transform in part.pipeline:
                if transform.type != 'TokenizeText':  # needs a vocabulary
                    TRANSFORMS.build(transform)
    assert cfg.optim_wrapper.constructor == 'PretrainOptimWrapperConstructor'


@pytest.mark.parametrize('name', FULL)
def test_schedules_end_with_the_training(name):
    cfg = load(name)
    ends = [s.end for s in cfg.param_scheduler if s.by_epoch]
    assert ends[-1] == cfg.train_cfg.max_epochs
    sizes = {t.size for t in cfg.train_dataloader.dataset.pipeline if 'Crop' in t.type}
    config = cfg.model.image_encoder.get('config') or {}
    if 'image_size' in config and cfg.model.image_encoder.model_type != 'dinov2':
        assert sizes == {config.image_size}  # DINOv2's position embeddings are interpolated
    if 'patch_size' in config:
        assert all(size % config.patch_size == 0 for size in sizes)


#: what a config's name says of its difference -> what it sets in the model; nothing else differs
DIFFERENCES = {
    **{
        f'no-{tasks}': {f'pretext_heads.{t}': None for t in tasks.split('_no-')}
        for tasks in ('inter', 'intra', 'itc', 'itm', 'inter_no-itm')
    },
    'clip': {f'pretext_heads.{task}': None for task in ('inter', 'itm', 'intra')},
    'no-entropy': {'pretext_heads.intra.entropy': None},
    'prompts-text': {'prompts.image_prob': 0.0},
    'prompts-image': {'prompts.image_prob': 1.0},
    'index-first': {'prompts.positive_index': 'first'},
}
SOURCES = dict(
    gaussian='GaussianNegatives',
    text='TextNegatives',
    ema='EMANegatives',
    catalogue='CatalogueNegatives',
)


def switchable(use: str) -> dict:
    options = {key: dict(type=value) for key, value in SOURCES.items()}
    values = dict(type='SwitchableNegatives', use=use, options=options)
    return {f'negative_queries.{key}': value for key, value in values.items()}


def child_of(name: str) -> tuple[str, dict] | None:
    """The config that another differs from by few keys of the model, and these keys."""
    path, tiny = Path(name), 'ablation/tiny/eclip_tiny.py'
    if name == tiny:
        return 'demo/eclip_tiny_synthetic.py', switchable('text')
    if path.stem.startswith('clip_'):
        return str(path.with_name(f'e{path.name}')), DIFFERENCES['clip']
    if path.parts[0] != 'ablation':
        return None
    base = tiny if path.parent.name == 'tiny' else 'eclip_vitb16.py'
    what = path.stem.removeprefix(f'{Path(base).stem}_')
    if not what.startswith('negatives-'):
        return base, DIFFERENCES[what]
    source = what.removeprefix('negatives-')
    if base == tiny:
        return base, {'negative_queries.use': source}
    if source == 'all':
        return base, switchable('gaussian')
    return base, {'negative_queries.type': SOURCES[source]}


def set_in(node, key, value):
    *path, last = key.split('.')
    for part in path:
        node = node[part]
    node[last] = value


@pytest.mark.parametrize('name', [name for name in FULL if child_of(name)])
def test_a_child_changes_one_thing(name):
    base, changes = child_of(name)
    child, expected = Config.fromfile(CONFIGS / name), Config.fromfile(CONFIGS / base)
    for key, value in changes.items():
        set_in(expected.model, key, value)
    assert child.to_dict() == expected.to_dict()


@pytest.mark.parametrize('base', ['ablation/eclip_vitb16', 'ablation/tiny/eclip_tiny'])
def test_both_models_have_every_ablation(base):
    assert {f'{base}_{what}.py' for what in DIFFERENCES if what != 'clip'} <= set(FULL)


@pytest.mark.parametrize(
    'name, kind',
    [
        ('eclip_vitb16.py', 'GaussianNegatives'),
        ('ablation/eclip_vitb16_negatives-text.py', 'TextNegatives'),
        ('ablation/eclip_vitb16_negatives-ema.py', 'EMANegatives'),
        ('ablation/eclip_vitb16_negatives-catalogue.py', 'CatalogueNegatives'),
        ('ablation/eclip_vitb16_negatives-all.py', 'GaussianNegatives'),
        ('ablation/tiny/eclip_tiny.py', 'TextNegatives'),
        ('ablation/tiny/eclip_tiny_negatives-gaussian.py', 'GaussianNegatives'),
        ('ablation/tiny/eclip_tiny_negatives-ema.py', 'EMANegatives'),
        ('ablation/tiny/eclip_tiny_negatives-catalogue.py', 'CatalogueNegatives'),
    ],
)
def test_table_6_has_its_kinds_of_negatives(name, kind):
    cfg = load(name)
    with torch.device('meta'):
        source = MODELS.build(cfg.model).negative_queries
    if cfg.model.negative_queries.type == 'SwitchableNegatives':
        assert set(source.options) == set(SOURCES)
        source = source.options[source.use]
    assert type(source).__name__ == kind
    if kind == 'EMANegatives':  # as many averages as queries: one more than there are negatives
        assert len(source.averages) == cfg.model.queries.num_queries


@pytest.mark.parametrize(
    'name, global_batch', [('eclip_vitb16.py', 6400), ('eclip_vitl16.py', 4096)]
)
def test_the_papers_settings(name, global_batch):
    """Section 4.1 of the paper."""
    cfg = load(name)
    assert cfg.train_dataloader.batch_size * 32 == global_batch
    assert cfg.train_cfg.max_epochs == 15
    assert cfg.optim_wrapper.optimizer.type == 'AdamW' and cfg.optim_wrapper.optimizer.lr == 1e-4
    warm_up, decay = cfg.param_scheduler
    assert (warm_up.type, decay.type, decay.power) == ('LinearLR', 'PolyLR', 1.0)
    assert cfg.model.queries.num_queries == 20 and cfg.model.decoder.num_blocks == 6
    train = {t.type: t for t in cfg.train_dataloader.dataset.pipeline}
    assert train['LoadCroppedImages'].size == 224 and train['TokenizeText'].max_length == 55


def shrink(model):
    """The same parts in the same places, a few thousand times smaller."""
    tower = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=4)
    model.queries.num_queries = 4
    if model.get('pretrained_dual'):  # load() has made it small
        return model
    kind = model.image_encoder.model_type
    fields = model.image_encoder.get('config') or {}
    if kind == 'efficientnet':
        model.image_encoder.config = dict(IMAGE[kind])
        if model['freeze']['image'] != 'all':
            model['freeze']['image'] = 4
    elif kind not in ('resnet', 'regnet'):  # the demo's is small as it is
        kept = {k: v for k, v in fields.items() if k in ('use_mask_token',)}
        model.image_encoder.config = dict(tower, image_size=32, patch_size=8, **kept)
    model.text_encoder.config = dict(
        tower, intermediate_size=64, vocab_size=100, max_position_embeddings=64
    )
    model.embed_dims = 32
    model.decoder.update(num_blocks=2, num_heads=4)
    return model


@pytest.mark.parametrize('name', FULL)
def test_every_weight_gets_a_gradient(name):
    """DDP waits for the gradient of each in every step."""
    torch.manual_seed(0)
    model = MODELS.build(shrink(load(name).model))
    terms = model(**model.data_preprocessor(fake_batch(vocab_size=60)), mode='loss')
    model.parse_losses(terms)[0].backward()
    idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle
    names = {k.removeprefix('loss_') for k in terms if k.startswith('loss_')}
    assert names - {'entropy'} == tasks_of(name)
    assert ('entropy' in names) == ('intra' in names and 'no-entropy' not in name)


#: what is trained -> why
TRAINED = {
    'eclip_vitb16.py': "the paper's model",
    'eclip_vitl16_fsdp.py': 'computes activations again and takes texts in one group',
    'eclip_clip_vitb32.py': 'a dual encoder, whole',
    'eclip_siglip_vitb16.py': 'a dual encoder whose image tower has no linear g_I',
    'photos/eclip_lite2_snacks.py': 'frozen towers',
    'photos/eclip_lite2_grocery.py': 'frozen towers, weights of terms',
    'photos/eclip_lite2-6_snacks.py': 'a partly frozen tower with batch norms',
    'photos/eclip_lite2-6_grocery.py': 'a partly frozen tower, weights of terms',
    'eclip_dinov2b14.py': 'a vision model with a weight for its own pretraining alone',
    'eclip_dinov2b14_lora.py': 'adapters in both towers',
    'clip_vitb16.py': 'neither decoder nor momentum model',
    'ablation/eclip_vitb16_no-inter_no-itm.py': 'the fewest tasks with a momentum model',
    'ablation/eclip_vitb16_negatives-all.py': 'every kind of negatives; one follows the training',
    'demo/eclip_tiny_synthetic.py': 'register tokens, one block',
    'demo/eclip_tiny_grocery.py': 'a convolutional encoder, distractors, weights of terms',
}


@pytest.mark.parametrize('name', TRAINED)
@pytest.mark.slow
def test_a_small_one_trains(name):
    torch.manual_seed(0)
    model, batch = MODELS.build(shrink(load(name).model)), fake_batch(vocab_size=60)
    optim = PretrainOptimWrapperConstructor(dict(optimizer=dict(type='AdamW', lr=3e-3)))(model)
    steps = [model.train_step(batch, optim) for _ in range(15)]
    assert steps[-1]['loss'] < steps[0]['loss']


@pytest.mark.parametrize('name', [n for n in FULL if n not in TRAINED and not child_of(n)])
def test_every_other_config_has_the_model_of_a_trained_one(name):
    """Except for sizes."""
    assert shrink(load(name).model) in [shrink(load(other).model) for other in TRAINED]
