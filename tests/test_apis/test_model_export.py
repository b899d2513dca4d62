"""The folder of ``tools/export.py``: whole, complete, the same model, or not there."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from eclip_mm.apis import Eclip, model_export
from eclip_mm.apis.model_export import export_model, read_metrics
from eclip_mm.checkpoint.model_folder import FILES, SUMS, ModelFolderError
from eclip_mm.checkpoint.towers.folder import sha256_of
from test_apis.conftest import TEXTS, write_checkpoint

PICTURE = np.random.default_rng(0).integers(256, size=(40, 60, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def folder(checkpoint, tmp_path_factory):
    return export_model(checkpoint, tmp_path_factory.mktemp('export') / 'model')


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / 'copy')


def answers(source):
    eclip = Eclip(source, device='cpu')
    return (
        eclip.embed(PICTURE, 'red mug'),
        eclip.locate(PICTURE, TEXTS[:3], maps=True, top_k=3),
        eclip.classify(PICTURE, TEXTS),
        eclip.checkpoint,
    )


def test_the_folder_answers_as_the_checkpoint_does(tmp_path):
    """Also when checkpoint, catalogue and vocabulary are gone."""
    (tmp_path / 'training').mkdir()
    path = write_checkpoint(tmp_path / 'training')
    wanted = answers(path)
    folder = export_model(path, tmp_path / 'some' / 'model')
    shutil.rmtree(tmp_path / 'training')
    assert answers(folder) == wanted
    assert [p.name for p in folder.parent.iterdir()] == ['model']


def test_the_folder_holds_what_use_needs_and_no_more(folder, checkpoint):
    assert {path.name for path in folder.iterdir()} == {*FILES, SUMS, 'README.md'}
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1, 'all can be read'
    for line in (folder / SUMS).read_text().splitlines():
        digest, _, name = line.partition('  ')
        assert digest == sha256_of(folder / name)
    names = load_file(folder / 'model.safetensors').keys()
    assert not [n for n in names if n.startswith(('teacher.', 'heads.')) or n == '_extra_state']
    config = json.loads((folder / 'config.json').read_text())
    assert 'gone' not in json.dumps(config) and str(checkpoint.parent) not in json.dumps(config)
    assert config['pictures'] == [dict(type='LoadProductImages'), dict(type='Resize', size=32)]
    assert config['texts'] == dict(max_length=16, pad_token_id=0)
    assert config['versions'].keys() == {'eclip_mm', 'torch', 'transformers'}


def test_adapters_are_merged(tmp_path):
    pytest.importorskip('peft')
    path = write_checkpoint(tmp_path, lora=dict(image=dict(r=2), text=dict(r=2)))
    assert any('lora_' in name for name in torch.load(path)['state_dict'])
    folder = export_model(path, tmp_path / 'model')
    assert not [name for name in load_file(folder / 'model.safetensors') if 'lora' in name]
    wanted, found = (Eclip(s, device='cpu').embed(PICTURE, 'red mug') for s in (path, folder))
    assert found == wanted
    state = torch.load(path)
    for name, value in state['state_dict'].items():
        if 'lora_B' in name:
            value.zero_()
    torch.save(state, tmp_path / 'unadapted.pth')
    unadapted = Eclip(tmp_path / 'unadapted.pth', device='cpu').embed(PICTURE, 'red mug')
    for name in found:
        assert found[name] != pytest.approx(unadapted[name], abs=1e-3)


def test_the_card_says_what_the_model_is_made_of(tmp_path, monkeypatch):
    path = write_checkpoint(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'gone/image_encoder').mkdir(parents=True)
    (tmp_path / 'gone/image_encoder/README.md').write_text('---\nlicense: mit\n---\n')
    figures = {'val/R@1': 0.5, 'val/R@1_low': 0.4, 'val/R@1_high': 0.6, 'val/R@1_chance': 0.01}
    (tmp_path / 'metrics.json').write_text(json.dumps(figures))
    folder = export_model(path, 'model', metrics='metrics.json', licence='apache-2.0')
    card = (folder / 'README.md').read_text()
    for part in (
        'license: apache-2.0',
        '# model',
        'data/train.parquet',
        '600 steps of 19 products, 6 epochs',
        '| image | vit | `gone/image_encoder` | mit |',
        '| text | bert | `gone/text_encoder` | not known |',
        '0.500 [0.400, 0.600]',
        sha256_of(path),
    ):
        assert part in card, part
    card = (export_model(path, 'plain') / 'README.md').read_text()
    assert 'license:' not in card and 'None were given.' in card


@pytest.mark.parametrize('where', ['write_model_folder', '_check_same', 'card_text'])
def test_a_failed_export_leaves_nothing(checkpoint, tmp_path, monkeypatch, where):
    def fail(*args):
        raise OSError('no space left')

    earlier = tmp_path / 'earlier'
    export_model(checkpoint, earlier)
    before = {path: path.read_bytes() for path in earlier.iterdir()}
    monkeypatch.setattr(model_export, where, fail)
    for folder in (tmp_path / 'model', earlier):
        with pytest.raises(OSError, match='no space left'):
            export_model(checkpoint, folder, replace=True)
    assert {path: path.read_bytes() for path in earlier.iterdir()} == before
    assert list(tmp_path.iterdir()) == [earlier]


def test_weights_that_would_differ_are_refused(checkpoint, tmp_path, monkeypatch):
    write = model_export.write_model_folder

    def write_other(part, content):
        weights = {
            name: value + (name == 'logit_scale') for name, value in content.weights.items()
        }
        write(part, model_export.ModelFolder(**vars(content) | dict(weights=weights)))

    monkeypatch.setattr(model_export, 'write_model_folder', write_other)
    with pytest.raises(RuntimeError, match='other vectors'):
        export_model(checkpoint, tmp_path / 'model')
    assert not list(tmp_path.iterdir())


def test_only_an_earlier_export_is_replaced(checkpoint, copied, tmp_path):
    with pytest.raises(FileExistsError, match='--force'):
        export_model(checkpoint, copied)
    (copied / 'notes.txt').touch()
    assert not (export_model(checkpoint, copied, replace=True) / 'notes.txt').exists()
    (tmp_path / 'mine').mkdir()
    export_model(checkpoint, tmp_path / 'mine')  # empty
    (tmp_path / 'file').touch()
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other/thesis.tex').touch()
    for name in ('file', 'other'):
        with pytest.raises(FileExistsError, match='is no export'):
            export_model(checkpoint, tmp_path / name, replace=True)
    with pytest.raises(ValueError, match='is a folder: give the checkpoint'):
        export_model(copied, tmp_path / 'again')


@pytest.mark.parametrize('name', [*FILES, SUMS])
def test_a_damaged_folder_is_refused(copied, name):
    path = copied / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFolderError, match='sha256|missing'):
        Eclip(copied)
    path.unlink()
    with pytest.raises(ModelFolderError, match=name):
        Eclip(copied)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda c: c.update(format=99), 'format 99.*update eclip_mm'),
        (lambda c: c.pop('library'), 'not a config of eclip_mm'),
        (lambda c: c.update(extra=1), 'unknown or missing keys: extra'),
        (lambda c: c.pop('texts'), 'unknown or missing keys: texts'),
        (lambda c: c['model'].update(type='os.system'), 'would import and call'),
        (lambda c: c['pictures'][0].update(type='os.system'), 'would import and call'),
        (lambda c: c['model'].update(embed_dims=8), 'weights do not fit'),
    ],
)
def test_a_config_that_cannot_be_used_is_named(copied, change, reason):
    path = copied / 'config.json'
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    sums = (copied / SUMS).read_text()
    line = f'{sha256_of(path)}  config.json'
    (copied / SUMS).write_text(re.sub(r'\w+  config\.json', line, sums))
    with pytest.raises(ValueError, match=f'(?s){copied}.*{reason}'):
        Eclip(copied)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('{', 'not JSON'),
        ('[]', 'not an object of figures'),
        ('{}', 'not an object of figures'),
        ('{"a": {"b": 1}}', "'a' is .* not a number"),
        ('{"a": true}', "'a' is True, not a number"),
    ],
)
def test_metrics_that_are_none_are_refused(tmp_path, text, reason):
    (tmp_path / 'metrics.json').write_text(text)
    with pytest.raises(ValueError, match=f'metrics.json.*{reason}'):
        read_metrics(tmp_path / 'metrics.json')


def test_the_program(program, checkpoint, tmp_path):
    out, _ = program('export.py', checkpoint, tmp_path / 'model')
    assert re.search(r'model: \d+\.\d MB; README.md is its card', out)
    _, err = program('export.py', checkpoint, tmp_path / 'model', expected=1)
    first, *hint = err.splitlines()
    assert first.startswith('error: ') and '--force' in first and len(hint) <= 1
    _, err = program('export.py', tmp_path / 'gone.pth', tmp_path / 'other', expected=1)
    assert 'gone.pth is neither a checkpoint nor a folder' in err
