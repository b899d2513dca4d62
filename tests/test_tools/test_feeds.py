"""From the export of a shop to a catalogue and a trained tiny model, by the command lines."""

import json
import os
import re

import pytest

from eclip_mm.datasets import read_catalogue
from helpers.feeds import EXPORTS, picture, picture_names, with_local_pictures
from helpers.processes import Program
from helpers.web import web_server

FEED = 'dataset_converters/feed.py'
FETCH = 'dataset_converters/fetch_pictures.py'


@pytest.fixture
def served(tmp_path):
    """An export of Google Merchant whose URLs are answered; one of them is a page."""
    with web_server() as server:
        text = re.sub(r'https://img\.[^/]+', server.url, EXPORTS['google'].read_text())
        path = tmp_path / 'feed.tsv'
        path.write_text(text)
        for url in picture_names(path):
            body = picture(url.removeprefix(server.url))
            server.answers[url.removeprefix(server.url)] = (
                200,
                {'Content-Type': 'image/png'},
                body,
            )
        server.answers['/p/silk-tie-side.png'] = (200, {'Content-Type': 'text/html'}, b'<html>')
        yield path


def test_pictures_are_fetched_once_and_become_a_catalogue(served, program, tmp_path):
    target = tmp_path / 'out' / 'train.parquet'
    _, errors = program(FEED, served, target, expected=1)
    assert 'no product can be used' in errors
    assert 'run tools/dataset_converters/fetch_pictures' in errors
    out, _ = program(FETCH, served)
    assert '0 fetched' in out and '19 private address' in out
    assert '--allow-host 127.0.0.1 permits it' in out
    out, _ = program(FETCH, served, '--allow-host', '127.0.0.1', '--retry')
    assert '18 fetched' in out and '1 failed (1 no picture)' in out
    out, _ = program(FETCH, served, '--allow-host', '127.0.0.1')
    assert '18 pictures were there, 0 fetched' in out
    out, _ = program(FEED, served, target, '--max-words', '6')
    assert 'shop: google' in out and '8 products with 18 pictures from 10 rows' in out
    assert 'line 8: ' in out and 'silk-tie-side.png: the server sends text/html' in out
    assert all(len(text.split()) <= 6 for text in read_catalogue(target).texts())


def test_the_mapping_may_be_shown_changed_and_used(program, tmp_path):
    export = with_local_pictures(EXPORTS['magento'], tmp_path)
    shown, _ = program(FEED, export, '--show')
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text(shown)
    target = tmp_path / 'out.jsonl'
    options = ['--mapping', mapping, '--text', '{name}', '2', '--text', 'of {material*}']
    options += ['--attributes', 'price', 'color', '--picture', 'base_image', 'studio']
    out, _ = program(FEED, export, target, *options)
    assert '8 products with 9 pictures' in out
    row = json.loads(target.read_text().splitlines()[0])
    assert row['text'] == 'Chaz Kangeroo Hoodie. of Fleece, Hemp, Polyester'
    assert row['attributes'] == dict(price=52.0, price_max=54.0, color=['Black', 'Orange'])
    assert {image['source'] for image in row['images']} == {'studio'}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--product-id', 'SKUs'], "has no column 'SKUs'"),
        (['--text', '{name}', 'much'], '--text takes a template and a weight'),
        (['--picture', 'base_image', 'a', ',', 'x'], '--picture takes a column'),
        (['--picture-root', 'nowhere'], 'nowhere: is no folder and no archive'),
        (['--mapping', 'nowhere.yaml'], 'nowhere.yaml: is not a readable YAML file'),
        (['--shop', 'shopify'], 'is no export of shopify: it has no column'),
    ],
)
def test_what_does_not_fit_is_one_line(options, message, program, tmp_path):
    _, errors = program(FEED, EXPORTS['magento'], tmp_path / 'a.parquet', *options, expected=1)
    assert errors.startswith('error: ') and message in errors and errors.count('\n') == 1


@pytest.mark.slow
def test_a_shop_is_trained_on_with_the_config_as_it_is(program, repo_root, tmp_path):
    export = with_local_pictures(EXPORTS['woocommerce'], tmp_path)
    program(FEED, export, tmp_path / 'data/feed/train.parquet')
    command = [repo_root / 'tools/train.py', repo_root / 'configs/demo/eclip_tiny_feed.py']
    env = {**os.environ, 'PYTHONPATH': str(repo_root)}
    training = Program(command, tmp_path / 'log', tmp_path, env)
    assert training.wait(600) == 0, (tmp_path / 'log').read_text()[-4000:]
    work_dir = tmp_path / 'work_dirs/eclip_tiny_feed'
    (scalars,) = work_dir.glob('*/vis_data/scalars.json')
    steps = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert len(steps) == 8 and all(0 < step['loss'] < 100 for step in steps)
    assert (work_dir / 'epoch_4.pth').exists()
