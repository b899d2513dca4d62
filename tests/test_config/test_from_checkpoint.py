"""What an evaluation config takes from the checkpoint, and what it says when it cannot."""

import copy

import pytest
from mmengine.config import Config

from eclip_mm.config.errors import explain_checkpoint_errors
from eclip_mm.config.from_checkpoint import (
    complete_evaluation_config,
    without_pretrained,
)

TOKENIZE = dict(type='TokenizeText', tokenizer=dict(type='T', name='x'), max_length=7)
PIPELINE = [dict(type='Resize', size=32), TOKENIZE]
SAVED = dict(
    model=dict(
        type='ECLIP',
        embed_dims=8,
        image_encoder=dict(type='I', model_type='vit', pretrained='some/folder'),
        text_encoder=dict(type='E', pretrained=None),
    ),
    test_pipeline=[dict(type='Stale')],
    test_dataloader=dict(dataset=dict(datasets=[dict(type='D', pipeline=PIPELINE)])),
    custom_imports=dict(imports=['projects.filip']),
)


def evaluation(**changes):
    values = dict(
        test_dataloader=dict(dataset=dict(type='D', catalogue=None)),
        test_evaluator=[dict(type='M'), dict(type='N', catalogue=None)],
        custom_hooks=[dict(type='ClassPromptHook'), dict(type='ProgressBarHook')],
    )
    return Config({**values, **changes})


def complete(cfg, saved=SAVED, catalogue='shop.parquet'):
    complete_evaluation_config(cfg, copy.deepcopy(saved), catalogue, 'ckpt.pth')
    return cfg


def test_everything_open_is_filled():
    cfg = complete(evaluation())
    assert cfg.model.image_encoder.pretrained is None and cfg.model.embed_dims == 8
    dataset = cfg.test_dataloader.dataset
    assert dataset.pipeline == PIPELINE, "its own test set's, not a variable that is left over"
    assert dataset.catalogue == 'shop.parquet'
    assert [m.get('catalogue') for m in cfg.test_evaluator] == [None, 'shop.parquet']
    hook = cfg.custom_hooks[0]
    assert (hook.tokenizer, hook.max_length) == (dict(type='T', name='x'), 7)
    assert cfg.custom_hooks[1] == dict(type='ProgressBarHook')


def test_data_sets_in_wrappers_are_found():
    parts = [dict(type='D', catalogue='a.jsonl'), dict(type='D', pipeline=['own'])]
    wrapped = dict(type='R', dataset=dict(type='ConcatDataset', datasets=parts))
    cfg = complete(evaluation(test_dataloader=dict(dataset=wrapped)))
    first, second = cfg.test_dataloader.dataset.dataset.datasets
    assert first.catalogue == 'a.jsonl' and first.pipeline == PIPELINE
    assert second.catalogue == 'shop.parquet' and second.pipeline == ['own'], (
        'what it has, it keeps'
    )


def with_queries():
    parts = [dict(type='D', catalogue=None, split='test')]
    parts.append(dict(type='D', catalogue='--queries', split='queries'))
    return evaluation(
        test_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=parts)),
        test_evaluator=[
            dict(type='M', split='test'),
            dict(type='M', query_split='queries', gallery_split='test', prefix='table3'),
        ],
    )


def test_queries_of_a_second_catalogue_are_an_option(capsys):
    cfg = with_queries()
    complete_evaluation_config(cfg, copy.deepcopy(SAVED), 'shop.parquet', 'c.pth', 'q.parquet')
    first, second = cfg.test_dataloader.dataset.datasets
    assert (first.catalogue, second.catalogue) == ('shop.parquet', 'q.parquet')
    assert second.pipeline == PIPELINE and len(cfg.test_evaluator) == 2
    cfg = complete(with_queries())
    (dataset,) = cfg.test_dataloader.dataset.datasets
    assert dataset.catalogue == 'shop.parquet'
    assert [metric.get('prefix') for metric in cfg.test_evaluator] == [None]
    assert 'table3 is skipped, because --queries is not given' in capsys.readouterr().out
    cfg = with_queries()
    del cfg.test_evaluator[0]
    with pytest.raises(KeyError, match="all metrics need .* 'queries': give --queries PATH"):
        complete(cfg)
    for cfg in (evaluation(), evaluation(model=dict(type='Own'))):
        with pytest.raises(KeyError, match='--queries is given, but no data set has'):
            complete_evaluation_config(cfg, copy.deepcopy(SAVED), None, 'c.pth', 'q.parquet')


def test_the_pipeline_falls_back_to_the_variable():
    saved = {key: value for key, value in SAVED.items() if key != 'test_dataloader'}
    cfg = complete(evaluation(custom_hooks=[]), saved)
    assert cfg.test_dataloader.dataset.pipeline == [dict(type='Stale')]


def test_a_config_with_a_model_keeps_everything_but_initial_weights():
    cfg = evaluation(model=dict(type='Own', text_encoder=dict(pretrained='f')))
    before = copy.deepcopy(cfg)
    complete(cfg, saved={}, catalogue=None)
    assert cfg.model == dict(type='Own', text_encoder=dict(pretrained=None))
    assert cfg.test_dataloader == before.test_dataloader
    assert cfg.custom_hooks == before.custom_hooks


@pytest.mark.parametrize(
    'saved, catalogue, changes, words',
    [
        ({}, 'c', {}, "model is not set, and ckpt.pth has no config with 'model'"),
        (
            dict(model={}),
            'c',
            {},
            "test_dataloader.dataset.pipeline is not set, and ckpt.pth .* 'test_pipeline'",
        ),
        (SAVED, None, {}, 'test_dataloader.dataset.catalogue is not set: give --catalogue'),
        (
            SAVED,
            None,
            dict(test_dataloader=dict(dataset=dict(type='D', catalogue='x'))),
            'test_evaluator.1.catalogue is not set: give --catalogue',
        ),
        (
            SAVED,
            'c',
            dict(
                test_dataloader=dict(dataset=dict(type='D', catalogue='x')),
                test_evaluator=[dict(type='M')],
            ),
            'this config sets all of them',
        ),
        (SAVED, 'c', dict(model=dict(type='Own')), 'this config sets all of them'),
        (
            dict(SAVED, test_dataloader={}),
            'c',
            {},
            'custom_hooks.0.tokenizer is not set, and the test pipeline in ckpt.pth has no Tok',
        ),
    ],
)
def test_what_nothing_fills_is_named(saved, catalogue, changes, words):
    with pytest.raises(KeyError, match=words):
        complete(evaluation(**changes), saved, catalogue)


def test_initial_weights_are_left_out_of_a_copy():
    model = dict(pretrained='a', image_encoder=dict(pretrained='b', depth=3), heads=dict(itc=None))
    assert without_pretrained(model) == dict(
        pretrained=None, image_encoder=dict(pretrained=None, depth=3), heads=dict(itc=None)
    )
    assert model['pretrained'] == 'a' and model['image_encoder']['pretrained'] == 'b'


def test_errors_say_what_the_training_had():
    with pytest.raises(KeyError, match=r'custom_imports.imports=\[projects.filip\]'):
        with explain_checkpoint_errors(Config({}), SAVED):
            raise KeyError('FILIPHead is not in the registry')
    with pytest.raises(
        RuntimeError, match='size mismatch(.|\n)*image_encoder.pretrained=some/fold'
    ):
        with explain_checkpoint_errors(Config({}), SAVED):
            raise RuntimeError('size mismatch')
    with pytest.raises(OSError, match='not here(.|\n)*model.pretrained_dual=some/clip'):
        dual = dict(model=dict(pretrained_dual='some/clip', image_encoder=dict(type='T')))
        with explain_checkpoint_errors(Config({}), dual):
            raise OSError('not here')
    with pytest.raises(KeyError) as error:  # imported already: something else is wrong
        with explain_checkpoint_errors(Config(dict(custom_imports=SAVED['custom_imports'])), {}):
            raise KeyError('no such head')
    assert error.value.args == ('no such head',)


def test_a_preprocessor_beside_the_model_comes_along():
    saved = {**SAVED, 'data_preprocessor': dict(type='P', mean=(1, 2, 3))}
    assert complete(evaluation(), saved).model.data_preprocessor.mean == (1, 2, 3)
    saved['model'] = {**SAVED['model'], 'data_preprocessor': dict(type='Own')}
    assert complete(evaluation(), saved).model.data_preprocessor == dict(type='Own')
