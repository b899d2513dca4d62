"""Towers from the hub: its own client, and a hub on this machine."""

import pytest

from eclip_mm.checkpoint.towers.folder import check_folder
from eclip_mm.checkpoint.towers.getting import get_tower
from eclip_mm.checkpoint.towers.hub import choose_files
from eclip_mm.checkpoint.towers.known import TowerError
from test_checkpoint.fake_hub import REVISION, FakeHub

FILES = {
    'config.json': b'{}',
    'model.safetensors': b'weights',
    'vocab.txt': b'red',
    '1_Pooling/config.json': b'{"pooling_mode_mean_tokens": true}',
}


@pytest.fixture
def fake_hub(monkeypatch):
    others = {
        'pytorch_model.bin': b'pickle',
        'tf_model.h5': b'tensorflow',
        'onnx/model.onnx': b'onnx',
        'README.md': b'a card',
    }
    fake = FakeHub({'shop/encoder': FILES | others, 'shop/words': {'vocab.txt': b'a'}})
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
    # as HF_ENDPOINT does, which is read when huggingface_hub is imported
    monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', fake.url)
    monkeypatch.setattr(
        'huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE',
        fake.url + '/{repo_id}/resolve/{revision}/{filename}',
    )
    yield fake
    fake.close()


def error_of(name, root) -> str:
    with pytest.raises(TowerError) as caught:
        get_tower(name, root)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_a_model_is_fetched_in_one_format(tmp_path, fake_hub):
    line = get_tower('shop/encoder', tmp_path)
    folder = tmp_path / 'shop/encoder'
    assert line.startswith(f'{folder}: licence mit, from the hub at aaaaaaaaaaaa, ')
    found = {p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file()}
    assert found == {*FILES, 'README.md'}
    for name, data in FILES.items():
        assert (folder / name).read_bytes() == data
    card = (folder / 'README.md').read_text()
    assert 'license: mit' in card and f'Source: revision {REVISION}' in card
    assert 'Origin: https://huggingface.co/shop/encoder' in card
    check_folder(folder)
    fake_hub.asked.clear()
    assert 'kept' in get_tower('shop/encoder', tmp_path) and not fake_hub.asked


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('shop/nothing', 'shop/nothing is not known: the hub has no such public model'),
        ('efficientnet-lite9', 'packages carry all-MiniLM-L6-v2, efficientnet-lite0, '),
        ('shop/words', 'shop/words is no model of transformers: it has no config.json'),
    ],
)
def test_an_unknown_name_is_an_error(tmp_path, fake_hub, name, message):
    assert message in error_of(name, tmp_path)
    assert [path for path in tmp_path.rglob('*') if path.is_file()] == []


def test_a_model_that_needs_consent_is_an_error(tmp_path, fake_hub):
    fake_hub.gated.add('shop/encoder')
    assert '`hf auth login`' in error_of('shop/encoder', tmp_path)


def test_a_damaged_file_is_an_error(tmp_path, fake_hub):
    fake_hub.sums['shop/encoder', 'model.safetensors'] = 64 * '0'
    assert 'another sha256 than the 000000' in error_of('shop/encoder', tmp_path)
    assert [path for path in tmp_path.rglob('*') if path.is_file()] == []


def test_no_network_is_an_error(tmp_path, fake_hub, monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', 'http://127.0.0.1:9')  # discard
    error = error_of('shop/encoder', tmp_path)
    assert 'the hub cannot be reached' in error and 'take what packages carry' in error
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    assert 'the hub cannot be reached' in error_of('shop/encoder', tmp_path)


def test_pickled_weights_are_taken_only_where_there_are_no_others():
    def choose(*weights):
        return choose_files('a/b', ['config.json', 'train.py', *weights])[1:]

    shards = [f'model-0000{i}-of-00002.safetensors' for i in (1, 2)]
    index = 'model.safetensors.index.json'
    assert choose('pytorch_model.bin', 'model.safetensors', *shards) == ['model.safetensors']
    assert choose('pytorch_model.bin', index, *shards) == [*shards, index]
    assert choose('pytorch_model.bin', 'flax_model.msgpack') == ['pytorch_model.bin']
    with pytest.raises(TowerError, match='a/b has no PyTorch weights'):
        choose('tf_model.h5')
