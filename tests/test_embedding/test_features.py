"""Features of a catalogue are those of an evaluation, and no row is lost."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from eclip_mm.apis import load_config_and_model, predict_items
from eclip_mm.config.from_checkpoint import saved_pipeline
from eclip_mm.datasets import ProductImageDataset
from eclip_mm.embedding import (
    ShardEmbedder,
    embed_catalogue,
    mean_of_pictures,
    plan_row_ranges,
    shard_schema,
)
from helpers.catalogues import make_rows, write_rows


def read_features(out) -> list[dict]:
    return pq.read_table(out).to_pylist()


def read_skipped(out) -> list[dict]:
    files = sorted(Path(out).glob('_skipped-*.jsonl'))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.mark.parametrize('negatives', ['GaussianNegatives', 'CatalogueNegatives'])
def test_features_are_those_of_an_evaluation(options, tmp_path, negatives):
    """They are equal for each picture and any batch; texts, products and pictures in order."""
    text = Path(options.config).read_text().replace('GaussianNegatives', negatives)
    (tmp_path / 'config.py').write_text(text)
    options = replace(options, config=str(tmp_path / 'config.py'))
    embed_catalogue(options)
    cfg, model = load_config_and_model(options.config, options.checkpoint)
    pipeline = saved_pipeline(cfg, options.config, options.checkpoint)
    dataset = ProductImageDataset(options.catalogue[0], pipeline)
    expected = [sample for _, sample in predict_items(model, dataset, range(len(dataset)))]

    rows = read_features(options.out)
    assert [row['row'] for row in rows] == list(range(1, 12))
    found = [(row, picture) for row in rows for picture in row['pictures']]
    assert len(found) == len(expected) == 21
    for (row, picture), sample in zip(found, expected, strict=True):
        assert f'{row["product_id"]}#{picture["picture"]}' == sample.image_ids[0]
        assert picture['source'] == sample.sources[0]
        assert row['category'] == sample.category
        for name, vector in (
            ('pred_image_feat', picture['image_feat']),
            ('pred_instance_feat', picture['instance_feat']),
            ('pred_text_feat', row['text_feat']),
        ):
            torch.testing.assert_close(torch.tensor(vector), sample.get(name))
    # the test can fail: products differ
    assert not np.allclose(rows[0]['instance_feat'], rows[1]['instance_feat'], atol=1e-3)
    mean = np.mean([picture['image_feat'] for picture in rows[0]['pictures']], axis=0)
    np.testing.assert_allclose(rows[0]['image_feat'], mean / np.linalg.norm(mean), atol=1e-6)


@pytest.mark.parametrize('amp', [False, True])
def test_no_tf32_unless_amp(options, monkeypatch, amp):
    """The setting of the process, which torch allows by default, is restored."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', True)
    ranges, _ = plan_row_ranges(options.catalogue, 4)
    embedder = ShardEmbedder(replace(options, amp=amp), len(ranges))
    network = embedder.embed.model.network
    encode, allowed = network.encode_image, []

    def watched(*args):
        allowed.append(torch.backends.cudnn.allow_tf32)
        return encode(*args)

    monkeypatch.setattr(network, 'encode_image', watched)
    Path(options.out).mkdir()
    embedder(ranges[0])
    assert set(allowed) == {amp}
    assert torch.backends.cudnn.allow_tf32


def test_mean_of_pictures_by_hand():
    feats = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    expected = torch.tensor([[0.5**0.5, 0.5**0.5], [0.6, 0.8]])
    torch.testing.assert_close(mean_of_pictures(feats, [2, 1]), expected)


def test_every_row_is_written_or_reported(both, place):
    summary = embed_catalogue(both)
    assert summary == dict(rows=17, written=14, skipped=3, skipped_pictures=3, shards=5)
    assert json.loads((Path(both.out) / '_summary.json').read_text()) == summary
    rows = [row for row in read_features(both.out) if row['file'].endswith('faulty.jsonl')]
    # line 3 is blank
    assert [(row['row'], row['product_id']) for row in rows] == [(1, 'a'), (5, 'c'), (7, 'e')]
    assert [p['picture'] for p in rows[1]['pictures']] == [1]
    skipped = read_skipped(both.out)
    assert {entry['file'] for entry in skipped} == {str(place / 'faulty.jsonl')}
    assert [(e['row'], e['product_id'], e['picture']) for e in skipped] == [
        (2, None, None),
        (4, 'b', None),
        (5, 'c', 0),
        (6, 'd', 1),  # a file that is gone is noticed before any is decoded
        (6, 'd', 0),
        (6, 'd', None),
    ]
    reasons = [entry['reason'] for entry in skipped]
    assert 'the line is not JSON' in reasons[0] and "field 'text' is blank" in reasons[1]
    assert 'broken.png' in reasons[2] and 'there is no such file' in reasons[3]
    assert reasons[5].startswith('no picture can be decoded')


@pytest.mark.slow
def test_a_broken_row_group_costs_its_rows_only(options, tmp_path):
    path = write_rows(make_rows(11), tmp_path / 'broken.parquet')
    group = pq.read_metadata(path).row_group(1)
    text = next(c for c in map(group.column, range(8)) if c.path_in_schema == 'text')
    data = bytearray(path.read_bytes())
    start = text.dictionary_page_offset or text.data_page_offset
    data[start : start + text.total_compressed_size] = b'\xff' * text.total_compressed_size
    path.write_bytes(data)
    summary = embed_catalogue(replace(options, catalogue=[str(path)], num_workers=1))
    assert (summary['rows'], summary['written'], summary['skipped']) == (11, 8, 3)
    skipped = read_skipped(options.out)
    assert [entry['row'] for entry in skipped] == [4, 5, 6]
    assert all('row group 1 of the file cannot be read' in entry['reason'] for entry in skipped)


def test_only_what_is_asked_for(options):
    """The columns are those documented, and pictures are of one source."""
    some = replace(options, features=('image',), per=('picture',), sources=['comment'])
    summary = embed_catalogue(some)
    assert (summary['written'], summary['skipped']) == (10, 1)  # p4 has a merchant's alone
    table = pq.read_table(options.out)
    expected = shard_schema(('image',), ('picture',), 16)
    assert table.schema.equals(expected, check_metadata=False)
    columns = ['file', 'row', 'product_id', 'category', 'attributes', 'pictures']
    assert table.column_names == columns
    pictures = [picture for row in table.to_pylist() for picture in row['pictures']]
    assert {picture['picture'] for picture in pictures} == {1}
    assert set(pictures[0]) == {'picture', 'source', 'image_feat'}
