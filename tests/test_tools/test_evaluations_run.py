"""tools/test.py on every config under configs/evaluation, on small catalogues of their names."""

import json
import math
from itertools import islice
from pathlib import Path

import pytest
from mmengine.config import Config

from eclip_mm.datasets import ParquetCatalogueWriter, read_catalogue
from eclip_mm.datasets.converters import write_instance_queries

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('runs')]

CONFIGS = Path(__file__).resolve().parents[2] / 'configs/evaluation'
PHOTOS = ('--catalogue', 'data/synthetic/photos.parquet')
OPTIONS = {
    'tables.py': (*PHOTOS, '--queries', 'data/synthetic/queries.parquet'),
    'held_out_pictures.py': (*PHOTOS, '--queries', 'data/synthetic/train.parquet'),
}
NAMES = sorted(path.name for path in CONFIGS.glob('*.py'))


def copy_catalogue(source: Path, target: Path, rename: dict | None = None, rows=None) -> None:
    """The first rows of a catalogue, some sources of pictures called otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with ParquetCatalogueWriter(target) as writer:
        for row in islice(read_catalogue(source), rows):
            for image in row['images']:
                image['source'] = (rename or {}).get(image['source'], image['source'])
            writer.write(row)


@pytest.fixture(scope='module')
def data(workplace, tmp_path_factory):
    """A folder with everything that the configs name, none of it where the training read it."""
    folder = tmp_path_factory.mktemp('evaluations')
    source = folder / 'data/synthetic'
    # proposals take their time: few photos
    for split, rows in dict(train=None, photos=12, products=8).items():
        path = workplace.data / f'{split}.parquet'
        copy_catalogue(path, source / f'{split}.parquet', rows=rows)
    queries = source / 'queries.parquet'
    write_instance_queries(source / 'photos.parquet', queries, [source / 'train.parquet'])
    for name, of in dict(train='train', val='photos', mosaics='photos').items():
        copy_catalogue(source / f'{of}.parquet', folder / f'data/grocery/{name}.parquet')
    crops = dict(merchant='crop')  # the snacks' cut-outs
    copy_catalogue(source / 'train.parquet', folder / 'data/snacks/train.parquet', crops)
    copy_catalogue(source / 'photos.parquet', folder / 'data/snacks/val.parquet')
    copy_catalogue(queries, folder / 'data/snacks/queries.parquet')
    return folder


@pytest.fixture
def evaluate(program, trained, data, monkeypatch):
    monkeypatch.chdir(data)
    monkeypatch.setenv('LOCAL_RANK', '0')

    def run(name: str, *args: str) -> dict:
        command = [str(CONFIGS / name), str(trained / 'iter_16.pth'), '--work-dir', name, *args]
        program('test.py', *command, '--cfg-options', 'test_dataloader.num_workers=0')
        assert (data / name / 'table.md').read_text().startswith('# ')
        return json.loads((data / name / 'metrics.json').read_text())

    return run


@pytest.mark.parametrize('name', NAMES)
def test_it_runs_and_every_metric_has_figures(evaluate, name):
    figures = evaluate(name, *OPTIONS.get(name, ()))
    assert all(math.isfinite(value) for value in figures.values())
    measured = {key for key in figures if f'{key}_chance' in figures}
    for key in measured:
        low, value, high = (figures[key + end] for end in ('_low', '', '_high'))
        assert 0 <= low <= value <= high <= 1 and 0 <= figures[f'{key}_chance'] <= 1
    for metric in Config.fromfile(CONFIGS / name).test_evaluator:
        own = [key for key in measured if key.startswith(f'{metric["prefix"]}/')]
        if metric['type'] == 'ProductRetrieval':
            own = [key for key in own if f'/{metric.get("protocol", "fine")}_' in key]
        assert own, f'{metric} gave no figure'


def test_tables_without_queries_has_no_table_3(evaluate):
    figures = evaluate('tables.py', *PHOTOS)
    tables = {key.split('/')[0] for key in figures}
    assert tables == {
        'table1',
        'table2',
        'table2_image',
        'table4',
        'table4_regions',
        'table4_map_boxes',
    }
