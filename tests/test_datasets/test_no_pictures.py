"""Files that are no pictures: found at conversion, and the same answer in every reader."""

import shutil

import pytest

from eclip_mm.datasets import CatalogueError, ProductDataset, read_catalogue
from eclip_mm.datasets.converters import convert_carrier
from eclip_mm.datasets.picture_choice import choose_all
from eclip_mm.datasets.samples import SampleBuilder
from eclip_mm.datasets.storage.writers import ParquetCatalogueWriter, write_jsonl
from eclip_mm.embedding.products import ProductBlocks
from eclip_mm.embedding.row_ranges import RowRange
from helpers.catalogues import make_rows, pipeline, plain_png
from test_datasets.test_stream_faults import stream, write_unchecked

BROKEN = dict(
    empty=b'',
    page=b'<!DOCTYPE html><html>',
    ds_store=b'\0\0\0\1Bud1\0',
    cut=plain_png(9)[:-30],
)


@pytest.mark.data
@pytest.mark.parametrize('suffix', ['.parquet', '.jsonl'])
def test_case_at_conversion(cases_root, tmp_path, suffix):
    shutil.copytree(cases_root / '05-not-pictures', tmp_path / 'case')
    (tmp_path / 'case' / 'pics' / 'sub').mkdir(exist_ok=True)  # git keeps no empty folder
    report = convert_carrier(tmp_path / 'case' / 'cat.jsonl', tmp_path / f'out{suffix}').rows
    for name, reason in (
        ('zero.jpg', 'empty'),
        ('page.jpg', 'HTML page'),
        ('denied.jpg', 'XML document'),
        ('ds_store.jpg', 'DS_Store'),
        ('cut.jpg', 'cannot be decoded'),
        ('sub', 'is a folder'),
    ):
        assert any(name in p and reason in p for p in report.problems), (name, report.problems)
    assert any("product 'N090' is left out" in problem for problem in report.problems)
    assert (report.num_rows, report.num_used, report.num_skipped) == (7, 6, 1)
    assert report.num_missing_images == 8
    rows = list(read_catalogue(tmp_path / f'out{suffix}', strict=True))
    assert [row['product_id'] for row in rows] == [f'N00{i}' for i in range(6)]
    assert all(len(row['images']) == 1 for row in rows)


def test_conversion(tmp_path):
    """Without the check, pictures are copied as they are; strict, the first one is an error."""
    (tmp_path / 'good.png').write_bytes(plain_png(9))
    (tmp_path / 'page.png').write_bytes(BROKEN['page'])
    images = [dict(path=str(tmp_path / f'{name}.png'), source='x') for name in ('good', 'page')]
    write_jsonl([dict(product_id='p', text='t', images=images)], tmp_path / 'c.jsonl')
    convert_carrier(tmp_path / 'c.jsonl', tmp_path / 'all.parquet', check_pictures=False)
    assert len(read_catalogue(tmp_path / 'all.parquet')[0]['images']) == 2
    with pytest.raises(CatalogueError, match="c.jsonl: picture 'p#1' of product 'p'.*page.png"):
        convert_carrier(tmp_path / 'c.jsonl', tmp_path / 'out.parquet', strict=True)
    (tmp_path / 'good.png').write_bytes(b'')
    with pytest.raises(CatalogueError, match='no row can be used\n0 of 1 rows.*\n.*is empty'):
        convert_carrier(tmp_path / 'c.jsonl', tmp_path / 'out.parquet')
    assert not (tmp_path / 'out.parquet').exists()


def test_writer_refuses_an_empty_file(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'')
    row = dict(product_id='p', text='t', images=[dict(path=str(tmp_path / 'a.png'), source='x')])
    with pytest.raises(CatalogueError, match="row 1: .*a.png' is empty; leave the picture out"):
        with ParquetCatalogueWriter(tmp_path / 'out.parquet') as writer:
            writer.write(row)


@pytest.mark.parametrize('carrier', ['bytes', 'files'])
@pytest.mark.parametrize('kind', [*BROKEN, 'neither', 'folder', 'gone'])
def test_every_reader(tmp_path, carrier, kind, monkeypatch):
    """A broken picture costs itself: its product is used with the other one, and it is named."""
    rows = make_rows(6)
    broken = rows[2]['images'][0]
    if kind == 'neither':
        broken['bytes'] = None
    elif kind in BROKEN:
        broken['bytes'] = BROKEN[kind]
    elif carrier == 'bytes':
        pytest.skip('only a path can name a folder, or nothing')
    if carrier == 'files':
        (tmp_path / 'folder').mkdir()
        for i, row in enumerate(rows):
            for j, image in enumerate(row['images']):
                if (data := image.pop('bytes')) is not None:
                    (tmp_path / f'{i}{j}.png').write_bytes(data)
                    image['path'] = f'{i}{j}.png'
        if kind in ('folder', 'gone'):
            broken['path'] = kind
    path = write_unchecked(rows, tmp_path / 'c.parquet')
    logged = []
    monkeypatch.setattr(
        'eclip_mm.datasets.catalogue_dataset.print_log', lambda text, **_: logged.append(text)
    )
    monkeypatch.setattr(
        'eclip_mm.datasets.stream_faults.print_log', lambda text, **_: logged.append(text)
    )

    def named():
        found, logged[:] = ' '.join(logged), []
        return "'p2#0'" in found or 'row 3' in found

    dataset = ProductDataset(str(path), pipeline(False))
    ids = [dataset[i]['data_samples'].product_id for i in range(len(dataset))]
    assert ids == [f'p{i}' for i in range(6)] and named()

    ids, streamed = stream(path, num_images=2)
    assert sorted(ids) == [f'p{i}' for i in range(6)] and named()
    counts = streamed.faults.counts()
    assert (counts['rows'], counts['pictures'], counts['stand-ins']) == (0, 1, 0)

    builder = SampleBuilder(pipeline(False), choose_all)
    (block,) = ProductBlocks(RowRange(0, str(path), 0, 6, 6), builder)
    assert [product.product_id for product in block.products] == [f'p{i}' for i in range(6)]
    assert [(fault.row, fault.picture) for fault in block.faults] == [(3, 0)]
