"""Parts of a run that do not fit together are refused before its first step."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook
from PIL import Image
from torch import nn

from eclip_mm.engine import KeepingCheckpointHook
from eclip_mm.engine.checks.contrast import check_batches
from eclip_mm.engine.checks.figures import check_checkpoint_hooks, check_figure
from eclip_mm.engine.checks.inputs import check_pictures, check_texts, count_places, picture_sizes
from eclip_mm.registry import METRICS, MODELS
from eclip_mm.testing import tiny_model_config
from helpers.catalogues import CharTokenizer
from helpers.runs import make_runner, runner_config

TOWER = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32)
CLIP = dict(itc=dict(type='ITCHead'), inter=None, itm=None, intra=None)


def text_encoder(model_type='bert', pooling=None, **config):
    config = dict(dict(TOWER, vocab_size=300, max_position_embeddings=64), **config)
    kind = 'TransformersTextEncoder'
    return MODELS.build(dict(type=kind, model_type=model_type, pooling=pooling, config=config))


def texts(tokenizer, max_length=20, key='train_dataloader'):
    step = dict(type='TokenizeText', tokenizer=tokenizer, max_length=max_length)
    return {key: dict(dataset=dict(pipeline=[dict(type='Resize', size=32), step]))}


class Words:
    """A tokenizer with the ids of special tokens around those of its words."""

    vocab_size, pad_token_id = 100, 0

    def __init__(self, before=(), behind=()):
        self.before, self.behind = list(before), list(behind)

    def __call__(self, text, max_length=None):
        return [*self.before, *(10 + len(word) * 7 % 60 for word in text.split()), *self.behind]

    def __repr__(self):
        return 'Words()'


def test_more_words_than_the_embedding():
    tokenizer = CharTokenizer()  # 260 words
    check_texts(text_encoder(), texts(tokenizer))
    encoder = text_encoder(vocab_size=259)
    for key in ('train_dataloader', 'val_dataloader', 'custom_hooks'):
        with pytest.raises(ValueError) as error:
            check_texts(encoder, texts(tokenizer, key=key))
        message = str(error.value)
        assert f'TokenizeText of {key}' in message
        assert '260 words' in message and 'text encoder has 259' in message
        assert 'vocab_size=260' in message


@pytest.mark.data
def test_the_case_of_621_words(cases_root):
    folder = cases_root / '36-vocab-mismatch/tokenizer'
    tokenizer = dict(type='AutoTokenizer', name_or_path=str(folder))
    encoder = SimpleNamespace(vocab_size=400, named_modules=lambda: [])
    with pytest.raises(ValueError, match='has 621 words, but .* has 400: set .*vocab_size=621'):
        check_texts(encoder, texts(tokenizer))
    encoder.vocab_size = 621
    check_texts(encoder, texts(tokenizer))


@pytest.mark.parametrize(
    'model_type, places',
    [('bert', 64), ('roberta', 62), ('xlm-roberta', 62), ('mpnet', 62)],
)
def test_texts_that_are_too_long(model_type, places):
    encoder = text_encoder(model_type)
    assert count_places(encoder) == places
    check_texts(encoder, texts(CharTokenizer(), places))
    ids = torch.full((1, places), 7)
    encoder(ids, torch.ones_like(ids))
    with pytest.raises(ValueError, match=f'max_length={places + 1} tokens, .* for {places}: set'):
        check_texts(encoder, texts(CharTokenizer(), places + 1))
    ids = torch.full((1, places + 1), 7)
    with pytest.raises((IndexError, RuntimeError)):  # what would have happened
        encoder(ids, torch.ones_like(ids))


def test_a_model_without_a_table_of_positions_takes_any_length():
    config = dict(TOWER, vocab_size=300, num_key_value_heads=4)
    encoder = MODELS.build(
        dict(type='TransformersTextEncoder', model_type='llama', pooling='last', config=config)
    )
    check_texts(encoder, texts(CharTokenizer(), 10_000))


@pytest.mark.parametrize(
    'pooling, eos_ids, tokenizer, message',
    [
        ('cls', (), Words([1], [2]), None),
        ('cls', (), Words([], [2]), "begins a text with its first word.*pooling='mean'"),
        ('mean', (), Words(), None),
        ('last', (), Words(), None),
        ('eos', [2], Words([1], [2]), None),
        ('eos', [5, 2], Words([], [2]), None),
        ('eos', [3], Words([1], [2]), r'ends texts with id 2, .* at id \[3\].*eos_token_id=2'),
        ('eos', [500], Words([1]), None),  # no word: the last one is taken
        ('eos', [17], Words([1]), r"no end behind a text, and id \[17\].*pooling='last'"),
        ('eos', None, Words([1], [99]), None),  # CLIP's rule: the largest id
        ('eos', None, Words([1], [2]), 'ends texts with id 2, .* at id 99'),
        ('eos', None, Words([1]), 'no end behind a text'),
    ],
)
def test_the_token_of_the_feature_is_where_the_encoder_looks(pooling, eos_ids, tokenizer, message):
    encoder = SimpleNamespace(
        pooling=pooling, _eos_ids=eos_ids, vocab_size=1000, named_modules=lambda: []
    )
    if message is None:
        check_texts(encoder, texts(tokenizer))
        return
    with pytest.raises(ValueError, match=message):
        check_texts(encoder, texts(tokenizer))


@pytest.mark.data
def test_the_tokenizers_of_causal_models(cases_root):
    """Refused where the first word would be the feature, else pooled at the end of the text."""
    for name, refused in (('gpt2-like', True), ('xlmr-like', False)):
        folder = cases_root / '37-causal-text' / name
        parts = texts(dict(type='AutoTokenizer', name_or_path=str(folder)))
        encoder = SimpleNamespace(pooling='cls', vocab_size=1000, named_modules=lambda: [])
        if refused:
            with pytest.raises(ValueError, match='gpt2-like.*begins a text with its first word'):
                check_texts(encoder, parts)
        else:
            check_texts(encoder, parts)
        encoder.pooling, encoder._eos_ids = 'eos', [2] if name == 'xlmr-like' else [50256]
        check_texts(encoder, parts)
        encoder._eos_ids = [20]
        with pytest.raises(ValueError, match="pooling='eos'"):
            check_texts(encoder, parts)


@pytest.mark.parametrize(
    'model_type, size, fits',
    [
        ('vit', 32, True),
        ('vit', 48, False),
        ('vit', (32, 40), False),
        ('vit', 36, False),  # no multiple of the patch
        ('clip_vision_model', 48, False),
        ('siglip_vision_model', 48, False),
        ('dinov2', 48, True),  # which interpolates
        ('dinov2', 44, False),
    ],
)
def test_pictures_of_another_size(model_type, size, fits):
    encoder = MODELS.build(
        dict(
            type='TransformersImageEncoder',
            model_type=model_type,
            config=dict(TOWER, image_size=32, patch_size=8)
            if model_type != 'dinov2'
            else dict(
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=4,
                image_size=32,
                patch_size=8,
            ),
        )
    ).train()
    parts = dict(val_dataloader=dict(dataset=dict(pipeline=[dict(type='Resize', size=size)])))
    if fits:
        check_pictures(encoder, parts)
    else:
        sides = (size, size) if isinstance(size, int) else size
        with pytest.raises(ValueError) as error:
            check_pictures(encoder, parts)
        message = str(error.value)
        assert f'Resize of val_dataloader gives pictures of {sides[0]} x {sides[1]}' in message
        assert f'{model_type}, image_size=32' in message
    assert encoder.training and all(p.grad is None for p in encoder.parameters())


def test_sizes_of_all_pipelines_are_found():
    crop = dict(type='RandomResizedCrop', size=64)
    part = dict(
        dataset=dict(
            datasets=[
                dict(pipeline=[crop, dict(type='Resize', size=(32, 48)), dict(type='Pack')]),
                dict(dataset=dict(pipeline=[crop])),
                dict(pipeline=[dict(type='Pack')]),
                dict(pipeline=None),
            ]
        )
    )
    assert list(picture_sizes(part)) == [
        ('Resize', (32, 48)),
        ('RandomResizedCrop', (64, 64)),
    ]


def loader(batch_size, size=16, drop_last=True, world_size=1):
    return SimpleNamespace(
        batch_size=batch_size,
        drop_last=drop_last,
        dataset=range(size),
        sampler=range(size // world_size),
    )


@pytest.mark.parametrize(
    'heads, args, world_size, message',
    [
        (CLIP, dict(batch_size=2), 1, None),
        (CLIP, dict(batch_size=1), 2, None),
        (CLIP, dict(batch_size=1), 1, r'batch_size=1 is too small: pretext_heads\.itc.*needs 2'),
        (CLIP, dict(batch_size=4, size=1), 1, 'has 1 products.*needs 2 different'),
        (CLIP, dict(batch_size=4, size=17, drop_last=False), 1, '17 products in batches of 4 leave'
         ' a last batch of 1, .* needs 2: set train_dataloader.drop_last=True'),
        (CLIP, dict(batch_size=4, size=17, drop_last=True), 1, None),
        (CLIP, dict(batch_size=4, size=18, drop_last=False), 1, None),
        (CLIP, dict(batch_size=4, size=16, drop_last=False), 1, None),
        (None, dict(batch_size=4), 1, None),  # four queries
        (None, dict(batch_size=2), 2, None),
        (None, dict(batch_size=3), 1, r'num_queries=4, .* needs 4 .* at least 4'),
        (None, dict(batch_size=1), 2, r'on 2 ranks is too small: .* at least 2'),
        (None, dict(batch_size=4, size=3), 1, 'has 3 products.*needs 4 different'),
        (None, dict(batch_size=4, size=18, drop_last=False), 1, 'last batch of 2, .* needs 4'),
        (None, dict(batch_size=4, size=20, drop_last=False), 1, None),
    ],
)  # fmt: skip
def test_too_little_to_contrast(heads, args, world_size, message):
    options = {} if heads is None else dict(pretext_heads=heads)
    model = MODELS.build(tiny_model_config(embed_dims=16, num_blocks=1, **options))
    if message is None:
        check_batches(model, loader(**args), world_size)
        return
    with pytest.raises(ValueError, match=message):
        check_batches(model, loader(**args), world_size)


def test_distractors_need_other_pictures():
    model = MODELS.build(tiny_model_config(embed_dims=16, num_blocks=1, num_distractors=4))
    with pytest.raises(ValueError, match='num_distractors=4 needs 5 pictures on each rank'):
        check_batches(model, loader(4), 1)
    with pytest.raises(ValueError, match='last batch of 4, .* needs 5'):
        check_batches(model, loader(8, 20, drop_last=False), 1)
    check_batches(model, loader(5), 1)
    check_batches(nn.Linear(1, 1), loader(1), 1)  # no ECLIP


def evaluator(*metrics):
    return Evaluator([METRICS.build(dict(metric, prefix='val')) for metric in metrics])


ALL = [
    dict(type='ImageTextRetrieval'),
    dict(type='ProductRetrieval'),
    dict(type='ProductRetrieval', protocol='m5', topk=(1, 3)),
    dict(type='ProductRetrieval', protocol='product1m'),
    dict(type='ProductGrounding', iou_thrs=(0.5, 0.75)),
    dict(type='ProductGrounding', candidates=dict(type='ScoreMapProposer')),
    dict(type='ZeroShotClassification'),
]
FIGURES = (
    'i2t_R@1 t2i_R@10 fine_R@1 fine_mAP@5 m5_P@3 m5_mAP@1 product1m_mAP@10 product1m_mAR@50 '
    'right_box right_box@0.75 acc@0.5 acc@0.7 pointing energy product_top1 product_top5'
).split()


@pytest.mark.parametrize('name', FIGURES)
def test_figures_that_the_metrics_give(name):
    for suffix in ('', '_chance', '_low'):
        check_figure(f'val/{name}{suffix}', evaluator(*ALL))


@pytest.mark.parametrize(
    'name, meant',
    [
        ('val/fien_R@1', 'val/fine_R@1'),
        ('vall/fine_R@1', 'val/fine_R@1'),
        ('fine_R@1', 'val/fine_R@1'),
        ('val/fine_r@1', 'val/fine_R@1'),
        ('val/fine_R@2', 'val/fine_R@'),
        ('val/i2t_num_images', None),
        ('loss', None),
        ('auto', None),
    ],
)
def test_a_misspelt_figure_is_an_error_at_the_start(name, meant):
    hook = KeepingCheckpointHook(interval=1, save_best=name, rule='greater')
    with pytest.raises(KeyError) as error:
        check_checkpoint_hooks([hook], evaluator(*ALL))
    message = error.value.args[0]
    assert f'save_best={name!r}' in message and 'val/fine_R@1' in message
    assert meant is None or f'did you mean {meant!r}' in message or f"'{meant}" in message


def test_a_metric_that_does_not_tell_its_figures_may_give_any():
    other = SimpleNamespace(prefix='coco')
    check_figure('coco/bbox_mAP', SimpleNamespace(metrics=[*evaluator(*ALL).metrics, other]))
    with pytest.raises(KeyError, match='val/fine_R@2'):
        check_figure('val/fine_R@2', SimpleNamespace(metrics=[*evaluator(*ALL).metrics, other]))
    check_figure('anything', SimpleNamespace(metrics=[SimpleNamespace(prefix=None)]))
    check_checkpoint_hooks([KeepingCheckpointHook(save_best='val/acc')], None)  # no validation


@pytest.mark.parametrize('kind', [CheckpointHook, KeepingCheckpointHook])
@pytest.mark.parametrize(
    'key, meant',
    [('save_optimiser', 'save_optimizer'), ('max_keep_ckpt', 'max_keep_ckpts'), ('x', None)],
)
def test_a_misspelt_option_of_a_checkpoint_hook(kind, key, meant):
    with pytest.raises(KeyError) as error:
        check_checkpoint_hooks([kind(interval=1, **{key: 3})], None)
    message = error.value.args[0]
    assert f'{kind.__name__} has no option {key!r}' in message
    assert f'did you mean {meant!r}' in message if meant else 'interval' in message


@pytest.mark.data
@pytest.mark.slow
def test_a_validation_set_of_single_pictures_trains_on(cases_root, tmp_path):
    """Case 30: retrieval has nothing to find, the training goes on with a warning."""
    (tmp_path / 'val').mkdir()
    path = tmp_path / 'val/val.jsonl'
    shutil.copy(cases_root / '30-single-picture-val/val.jsonl', path)
    for line in path.read_text().splitlines():
        for image in json.loads(line)['images']:
            picture = path.parent / image['path']
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (40, 40)).save(picture)
    folder = cases_root / '36-vocab-mismatch/tokenizer'
    tokenizer = dict(type='AutoTokenizer', name_or_path=str(folder))
    step = dict(type='TokenizeText', tokenizer=tokenizer, max_length=20)
    pipeline = [
        dict(type='LoadProductImages'),
        dict(type='Resize', size=32),
        step,
        dict(type='PackProductInputs'),
    ]
    model = tiny_model_config(embed_dims=16, num_blocks=1)
    model['text_encoder']['config']['vocab_size'] = 621
    data = dict(type='ProductImageDataset', catalogue=str(path), split='val', pipeline=pipeline)
    runner = make_runner(
        tmp_path / 'run',
        model=model,
        hooks=[dict(type='RunCheckHook')],
        val_dataloader=dict(
            batch_size=8,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='collate_products'),
            dataset=data,
        ),
        val_evaluator=[
            dict(type='ImageTextRetrieval', split='val', prefix='val'),
            dict(type='ProductRetrieval', split='val', prefix='val'),
        ],
        val_cfg=dict(type='ProductValLoop'),
        default_hooks=dict(
            runner_config('')['default_hooks'],
            checkpoint=dict(
                type='KeepingCheckpointHook',
                by_epoch=False,
                interval=2,
                save_best='val/fine_R@1',
                rule='greater',
            ),
        ),
    )
    runner.train()
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    assert 'no query can be answered' in log
    assert 'save_best=val/fine_R@1: the validation set does not give it' in log
    assert (tmp_path / 'run/iter_4.pth').exists()
    assert not list((tmp_path / 'run').glob('best_*'))
