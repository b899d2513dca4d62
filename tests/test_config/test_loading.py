"""load_config: what nothing reads is an error that names key and config."""

import copy
import sys

import pytest

import eclip_mm.registry
from eclip_mm.config.errors import name_config_in_errors
from eclip_mm.config.loading import load_config

BASE = """
size = 32
pipeline = [dict(type='Resize', size=size)]
notes = 'nothing reads this here'
val_dataloader = dict(batch_size=2, dataset=dict(type='A', pipeline=pipeline), many=[dict(x=1)])
work_dir = 'here'
"""


@pytest.fixture
def write(tmp_path):
    (tmp_path / 'base.py').write_text(BASE)

    def child(text, name='child.py', base='base.py'):
        path = tmp_path / name
        path.write_text(f'_base_ = {base!r}\n{text}\n')
        return str(path)

    return child


def test_what_is_fine(write):
    # a runner's key, a new variable, a variable that no base file reads
    cfg = load_config(write("work_dir = 'there'\nown = 3\nnotes = 'mine'"))
    assert (cfg.work_dir, cfg.own, cfg.notes) == ('there', 3, 'mine')
    # a variable of the base that the child reads itself
    cfg = load_config(
        write('pipeline = []\nval_dataloader = dict(dataset=dict(pipeline=pipeline))')
    )
    assert cfg.val_dataloader.dataset.pipeline == []


@pytest.mark.parametrize('text', ['pipeline = []', 'size = 64'])
def test_a_variable_that_the_base_has_used_is_an_error(write, text):
    name = text.split()[0]
    with pytest.raises(KeyError, match=rf"child\.py: nothing uses '{name}'"):
        load_config(write(text))
    # in the middle of a chain as well
    write(text, 'middle.py')
    with pytest.raises(KeyError, match=rf"middle\.py: nothing uses '{name}'"):
        load_config(write('', base='middle.py'))
    with pytest.raises(KeyError, match=rf"child\.py: nothing uses '{name}'"):
        load_config(write(text, base=['base.py']))


def test_an_option_of_ddp_that_counts_for_nothing_is_an_error(write):
    text = 'find_unused_parameters = True\nmodel_wrapper_cfg = dict(static_graph=True)'
    with pytest.raises(KeyError, match='child.py: find_unused_parameters.*static_graph=False'):
        load_config(write(text))
    assert load_config(write('find_unused_parameters = True')).find_unused_parameters


@pytest.mark.parametrize('name', ['text', 'filename', 'pretty_text', 'env_variables'])
def test_a_reserved_name_is_an_error_that_names_file_and_line(write, name):
    message = rf"child\.py, line 2: '{name}' cannot be a variable.*'my_{name}'"
    with pytest.raises(KeyError, match=message):
        load_config(write(f"{name} = 'red mug'"))
    write(f"{name} = 'red mug'", 'middle.py')
    with pytest.raises(KeyError, match=r'middle\.py, line 2: '):
        load_config(write('', base='middle.py'))


@pytest.mark.parametrize('loader', ['train_dataloader', 'val_dataloader', 'test_dataloader'])
@pytest.mark.parametrize('key, value', [('persistent_workers', True), ('prefetch_factor', 4)])
def test_settings_of_workers_without_workers(write, loader, key, value):
    path = write(f'{loader} = dict(num_workers=2, {key}={value})')
    load_config(path)
    message = rf'child\.py: {loader}\.{key}={value} .*{loader}\.num_workers is 0'
    with pytest.raises(ValueError, match=message):
        load_config(path, {f'{loader}.num_workers': 0})
    load_config(path, {f'{loader}.num_workers': 0, f'{loader}.{key}': None})


@pytest.mark.parametrize(
    'registry, name, meant',
    [
        ('MODELS', 'ECLPI', 'ECLIP'),
        ('MODELS', 'eclip', 'ECLIP'),
        ('DATASETS', 'ProductDatset', 'ProductDataset'),
        ('HOOKS', 'KeepingCheckpointHok', 'KeepingCheckpointHook'),
        ('HOOKS', 'LogerHook', 'LoggerHook'),  # mmengine's
        ('OPTIMIZERS', 'AdmW', 'AdamW'),  # torch's
        ('METRICS', 'eclip_mm.ProductRetreival', 'ProductRetrieval'),
        ('PARAM_SCHEDULERS', 'PoliLR', 'PolyLR'),
        ('TRANSFORMS', 'TokeniseText', 'TokenizeText'),
        ('OPTIM_WRAPPER_CONSTRUCTORS', 'MyOwnThing', None),
        ('DATA_SAMPLERS', 'ResumeableSampler', 'ResumableSampler'),
        ('LOOPS', 'ResumeableTrainLoop', 'ResumableTrainLoop'),
        ('TASK_UTILS', 'CatalogWordPiece', 'CatalogueWordPiece'),
    ],
)
def test_a_misspelt_type_is_called_what_was_meant(registry, name, meant):
    with pytest.raises(KeyError) as error, name_config_in_errors('some.py'):
        getattr(eclip_mm.registry, registry).build(dict(type=name))
    message = error.value.args[0]
    assert f"type='{name}' is no " in message and 'http' not in message, message
    if meant is not None:
        assert f"did you mean '{meant}'?" in message, message
    else:
        assert 'custom_imports' in message


def test_a_misspelt_top_level_key_is_an_error(write):
    with pytest.raises(KeyError, match="child.py: unknown key 'val_dataloder'.*'val_dataloader'"):
        load_config(write('val_dataloder = dict()'))


@pytest.mark.parametrize(
    'option, message',
    [
        ('val_dataloader.batch_sise', "'batch_sise'; did you mean 'batch_size'"),
        ('val_dataloadr.batch_size', "'val_dataloadr'; did you mean 'val_dataloader'"),
        ('val_dataloader.many.1.x', "is a list of 1, it has no item '1'"),
        ('val_dataloader.many.first.x', "it has no item 'first'"),
        ('pipeline', 'is a variable of the config file'),
    ],
)
def test_a_misspelt_option_is_an_error(write, option, message):
    path = write('')
    with pytest.raises(KeyError) as error:
        load_config(path, {option: 1})
    assert message in str(error.value) and path in str(error.value)


def test_options_are_merged(write):
    cfg = load_config(
        write(''),
        {
            'val_dataloader.batch_size': 7,
            'val_dataloader.many.0.x': 5,
            'val_dataloader.dataset.new': 1,  # a component checks its own arguments
            'train_cfg.max_epochs': 2,
        },
    )
    assert cfg.val_dataloader.batch_size == 7 and cfg.val_dataloader.many[0].x == 5
    assert cfg.val_dataloader.dataset.new == 1 and cfg.train_cfg.max_epochs == 2


def test_options_come_after_what_completes_the_config(write):
    def complete(cfg):
        cfg.model = dict(depth=3, width=8)

    cfg = load_config(write(''), {'model.depth': 5}, complete)
    assert cfg.model == dict(depth=5, width=8)


def test_modules_named_by_an_option_are_imported(write, tmp_path, monkeypatch):
    (tmp_path / 'a_users_own.py').write_text('imported = True')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'a_users_own', raising=False)
    load_config(write(''), {'custom_imports.imports': ['a_users_own']})
    assert sys.modules.pop('a_users_own').imported
    with pytest.raises(ImportError, match='a_users_typo'):
        load_config(write(''), {'custom_imports.imports': ['a_users_typo']})


def test_the_text_is_formatted_once_and_follows_changes(write, monkeypatch):
    from yapf.yapflib import yapf_api

    calls, format_code = [], yapf_api.FormatCode
    monkeypatch.setattr(
        yapf_api,
        'FormatCode',
        lambda *args, **kwargs: (calls.append(0), format_code(*args, **kwargs))[1],
    )
    cfg = load_config(write("work_dir = 'once'"))
    text = cfg.pretty_text
    assert copy.deepcopy(cfg).pretty_text == text and len(calls) == 1
    cfg.work_dir = 'twice'
    assert "work_dir = 'twice'" in cfg.pretty_text and len(calls) == 2


def test_errors_name_the_config_they_go_back_to():
    with pytest.raises(TypeError, match=r"no argument 'a'\n\(config: some\.py\)"):
        with name_config_in_errors('some.py'):
            raise TypeError("no argument 'a'")
    with pytest.raises(OSError) as error:  # its first argument is a number
        with name_config_in_errors('some.py'):
            raise OSError(2, 'no such file')
    assert error.value.errno == 2
    with pytest.raises(KeyboardInterrupt):
        with name_config_in_errors('some.py'):
            raise KeyboardInterrupt
