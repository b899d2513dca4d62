"""ONNX graphs: what the weights give, at any batch size, or no folder."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eclip_mm.apis import Eclip, model_export, onnx_export, onnx_parity
from eclip_mm.apis.model_export import OnnxOptions, export_model
from eclip_mm.apis.model_sources import LoadedModel, load_source
from eclip_mm.apis.onnx_model import OnnxNetwork, load_onnx
from eclip_mm.apis.onnx_parity import ParityError, measure_parity, read_pairs
from eclip_mm.checkpoint.model_folder import ModelFolderError
from eclip_mm.registry import MODELS
from eclip_mm.testing import tiny_model_config
from helpers import towers
from helpers.catalogues import encode, write_rows
from helpers.results import assert_same
from test_apis.conftest import TEXTS, write_checkpoint

pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')
# an export takes seconds of the processor
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('onnx')]
CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def catalogue(tmp_path_factory):
    """101 products with two pictures each."""
    rng = np.random.default_rng(0)
    words = 'red blue green yellow mug bowl plate fork spoon'.split()
    rows = []
    for k in range(101):
        pixels = rng.integers(256, size=(2, 24, 30, 3), dtype=np.uint8)
        images = [dict(bytes=encode(p), source='merchant') for p in pixels]
        text = f'{words[k % 4]} {words[4 + k % 5]} {words[k // 20 % 9]}'
        rows.append(dict(product_id=f'p{k}', text=text, images=images))
    return write_rows(rows, tmp_path_factory.mktemp('verify') / 'all.parquet')


@pytest.fixture(scope='module')
def folder(checkpoint, catalogue, tmp_path_factory):
    out = tmp_path_factory.mktemp('onnx') / 'model'
    return export_model(checkpoint, out, onnx=OnnxOptions([catalogue]))


@pytest.fixture
def ready_graphs(folder, monkeypatch):
    """An export takes the graphs of :func:`folder`, in the precision that it is asked for."""

    def copy(loaded, part, precision):
        shutil.copytree(folder / 'onnx', part / 'onnx')
        about = replace(load_onnx_description(folder), precision=precision)
        for name in about.files()[1:] if precision != 'fp32' else ():
            onnx_export._convert(part / name, precision)
        about.write(part)
        return about

    monkeypatch.setattr(model_export, 'write_graphs', copy)


def load_onnx_description(folder):
    text = (folder / 'onnx/config.json').read_text()
    return onnx_export.OnnxDescription(**dict(json.loads(text), parity=None))


def test_the_graphs_answer_as_the_weights_do_at_any_size(folder):
    graphs, weights = Eclip(folder, backend='onnx'), Eclip(folder, device='cpu')
    assert graphs.checkpoint == weights.checkpoint and graphs.embed_dims == 16
    rng = np.random.default_rng(1)
    pictures = [rng.integers(256, size=(40, 24 + 9 * k, 3), dtype=np.uint8) for k in range(5)]
    for size in (1, 2, 5):
        mixed = [*pictures, 'red mug', 'a much longer title of a green bowl', b'x']
        mixed.append(dict(image=pictures[0], text='blue mug'))
        assert_same(
            graphs.encode(mixed, batch_size=size),
            weights.encode(mixed, batch_size=size),
            tolerance=1e-4,
        )
    for count in (1, 2, 3, 7):  # fewer and more names than queries, and the model's own
        options = dict(names=TEXTS[:count], maps=True, top_k=2)
        assert_same(
            graphs.locate(pictures, **options), weights.locate(pictures, **options), tolerance=1e-4
        )
    assert_same(
        graphs.classify(pictures, TEXTS), weights.classify(pictures, TEXTS), tolerance=1e-4
    )
    listed = [Eclip(folder, 'cpu', backend, negatives=TEXTS) for backend in ('onnx', 'torch')]
    assert_same(*(eclip.embed(pictures, TEXTS[:5]) for eclip in listed), tolerance=1e-4)


def test_the_card_has_the_figures_and_files_are_summed(folder, tmp_path):
    card = (folder / 'README.md').read_text()
    for part in ("backend='onnx'", 'in fp32', '32 x 32', 'on 202 pictures', '| 1.000 |'):
        assert part in card, part
    parity = json.loads((folder / 'onnx/config.json').read_text())['parity']
    assert parity['pairs'] == 202 and parity['same_box'] == 1
    assert min(parity[f'{name}_cosine'] for name in ('image', 'text', 'instance')) > 0.99999
    copied = shutil.copytree(folder, tmp_path / 'copy')
    content = bytearray((copied / 'onnx/text.onnx').read_bytes())
    content[len(content) // 2] ^= 1
    (copied / 'onnx/text.onnx').write_bytes(content)
    with pytest.raises(ModelFolderError, match='text.onnx is damaged'):
        Eclip(copied, backend='onnx')
    assert Eclip(copied, device='cpu').encode('red mug')['kind'] == 'text'
    shutil.rmtree(copied / 'onnx')
    with pytest.raises(ModelFolderError, match='no ONNX graphs.*--onnx'):
        Eclip(copied, backend='onnx')


def test_graphs_of_other_weights_are_refused_and_nothing_is_left(
    catalogue, ready_graphs, tmp_path, checkpoint
):
    content = torch.load(checkpoint)
    generator = torch.Generator().manual_seed(0)
    for name, value in content['state_dict'].items():
        if name.startswith('network.image_proj'):
            value.add_(0.02 * torch.randn(value.shape, generator=generator))
    (tmp_path / 'other').mkdir()
    torch.save(content, tmp_path / 'other/epoch_6.pth')
    options = OnnxOptions([catalogue])
    with pytest.raises(ParityError, match=r'fp32 give other results.*image_cosine 0\.9'):
        export_model(tmp_path / 'other/epoch_6.pth', tmp_path / 'model', onnx=options)
    assert [path.name for path in tmp_path.iterdir()] == ['other']


def test_too_few_pictures_are_refused_before_anything_is_made(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(model_export, 'write_graphs', None)  # not called
    shop = checkpoint.parent / 'shop.parquet'
    with pytest.raises(ValueError, match='14 pictures can be read.*at least 200.*--verify'):
        export_model(checkpoint, tmp_path / 'model', onnx=OnnxOptions([shop]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_lower_precision_is_gated_by_its_losses(
    checkpoint, catalogue, ready_graphs, tmp_path, folder, precision
):
    options = OnnxOptions([catalogue], precision, max_loss=1.0)
    out = export_model(checkpoint, tmp_path / 'model', onnx=options)
    small, large = (path / 'onnx/image.onnx' for path in (out, folder))
    assert small.read_bytes() != large.read_bytes()
    assert f'in {precision}' in (out / 'README.md').read_text()
    parity = json.loads((out / 'onnx/config.json').read_text())['parity']
    assert 0.9 < parity['image_cosine'] < 1
    assert Eclip(out, backend='onnx').encode('red mug')['kind'] == 'text'
    with pytest.raises(ParityError, match=f'{precision} give other.*--max-loss is -1'):
        export_model(
            checkpoint, tmp_path / 'no', onnx=OnnxOptions([catalogue], precision, max_loss=-1)
        )
    assert [path.name for path in tmp_path.iterdir()] == ['model']


def test_the_gate_sees_each_kind_of_difference():
    good = onnx_parity.Parity(200, 1.0, 1.0, 1.0, 1.0, 1.0, (0.5, 0.5), (0.5, 0.5))
    good.check('fp32', 0)
    replace(good, instance_cosine=None).check('fp32', 0)
    for change in (
        dict(image_cosine=0.9998),
        dict(text_cosine=0.9998),
        dict(instance_cosine=0.9998),
        dict(same_box=0.995),
        dict(i2t=(0.5, 0.505)),
        dict(t2i=(0.5, 0.495)),
    ):
        with pytest.raises(ParityError):
            replace(good, **change).check('fp32', 1)
    lossy = replace(good, image_cosine=0.99, same_box=0.2, i2t=(0.5, 0.49))
    lossy.check('int8', 0.011)
    for change in (
        dict(i2t=(0.5, 0.48)),
        dict(t2i=(0.5, 0.48)),
        dict(similar_box=0.98),
        dict(text_cosine=float('nan')),
    ):
        with pytest.raises(ParityError):
            replace(lossy, **change).check('int8', 0.011)


def test_pairs_skip_what_cannot_be_read(catalogue, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_parity, 'LEAST_PAIRS', 3)
    images = [dict(bytes=b'broken', source='m'), dict(bytes=encode(np.zeros((9, 9, 3), np.uint8)))]
    rows = [dict(product_id=f'p{k}', text=f'mug {k}', images=images) for k in range(3)]
    path = write_rows(rows, tmp_path / 'some.jsonl')
    transforms = [dict(type='LoadProductImages'), dict(type='Resize', size=32)]
    pictures, texts = read_pairs(transforms, [path])
    assert sorted(texts) == ['mug 0', 'mug 1', 'mug 2'] and len(pictures) == 3


def build_tower_model(family):
    """An ECLIP without a decoder of a family of towers, as it is loaded for use."""
    cfg = tiny_model_config(embed_dims=24)
    if family in towers.DUAL:
        dims = 32 if family == 'siglip' else 24
        cfg = tiny_model_config(
            embed_dims=dims, pretrained_dual=dict(model_type=family, config=towers.DUAL[family])
        )
        cfg['image_encoder'] = dict(type='TransformersImageEncoder')
        cfg['text_encoder'] = dict(type='TransformersTextEncoder')
    else:
        cfg['image_encoder'].update(model_type=family, config=towers.IMAGE[family])
    for name in ('inter', 'itm', 'intra'):
        cfg['pretext_heads'][name] = None
    torch.manual_seed(0)
    model = MODELS.build(cfg).eval()
    tokenize = SimpleNamespace(max_length=12)
    pictures = [dict(type='LoadProductImages'), dict(type='Resize', size=64)]
    if family in towers.DUAL:
        pictures[1]['size'] = 32
    return LoadedModel(model, cfg, pictures, tokenize, {})


@pytest.mark.parametrize('family', ['efficientnet', 'clip', 'siglip'])
def test_families_of_towers(family, tmp_path):
    loaded = build_tower_model(family)
    about = onnx_export.write_graphs(loaded, tmp_path)
    assert about.num_queries is None and not (tmp_path / 'onnx/decoder.onnx').exists()
    network = OnnxNetwork(loaded.model.network.embed_dims, tmp_path, about, CPU)
    eos = towers.DUAL.get(family, {}).get('text_config', {}).get('eos_token_id')
    for lengths in ((5,), (4, 9, 3)):
        ids, mask = towers.texts(lengths, eos=eos)
        pixels = torch.randint(256, (len(lengths), 3, *about.picture), dtype=torch.uint8)
        images = (pixels.float() - loaded.model.data_preprocessor.mean) / 127.5
        with torch.no_grad():
            wanted = [*loaded.model.network.encode_image(images)[:2]]
            wanted.append(loaded.model.network.encode_text(ids, mask))
        found = [*network.encode_image(pixels)[:2], network.encode_text(ids, mask)]
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (dict(pictures=[dict(type='LoadProductImages')]), 'several sizes'),
        (dict(model=torch.nn.Linear(1, 1)), 'only an ECLIP'),
    ],
)
def test_what_has_no_graph_is_refused(checkpoint, tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        onnx_export.write_graphs(replace(load_source(checkpoint), **change), tmp_path)
    with pytest.raises(ValueError, match="got 'fp8'"):
        onnx_export.write_graphs(load_source(checkpoint), tmp_path, 'fp8')


def test_graphs_of_catalogue_negatives(tmp_path, folder, catalogue, checkpoint):
    """Names are queries of each picture, so that the decoder needs no source of its own."""
    weights = load_source(checkpoint)
    pairs = read_pairs(weights.pictures, [catalogue])
    parity = measure_parity(weights, load_onnx(folder, CPU), *pairs)
    parity.check('fp32', 0)
    (tmp_path / 'c').mkdir()
    source = dict(type='CatalogueNegatives')
    other = load_source(write_checkpoint(tmp_path / 'c', negative_queries=source))
    assert measure_parity(other, other, *pairs).same_box == 1
