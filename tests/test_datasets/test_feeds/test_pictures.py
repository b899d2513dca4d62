"""Pictures of a feed: paths, patterns, members of archives and fetched URLs."""

import json
import tarfile
import zipfile

import pytest

from eclip_mm.datasets import CatalogueError, read_catalogue
from eclip_mm.datasets.converters.feed import Feed, PictureColumn, convert_feed
from eclip_mm.datasets.converters.feed.fetched import INDEX, FetchedPictures, url_stem
from eclip_mm.datasets.converters.feed.pictures import PictureFinder, PictureNotFoundError
from helpers.catalogues import plain_png

NAMES = {
    'a.png': 10, 'deep/b 1.png': 20, 'sku7_front.png': 30, 'sku7_back.png': 40, 'x [1].png': 50,
    'é.png': 60,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / 'pictures'
    for name, value in NAMES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(plain_png(value))
    return root


@pytest.fixture(params=['folder', 'zip', 'tar', 'tar.gz'])
def root(request, folder, tmp_path):
    path = tmp_path / f'pictures.{request.param}'
    if request.param == 'folder':
        return folder
    if request.param == 'zip':
        with zipfile.ZipFile(path, 'w') as archive:
            for name in NAMES:
                archive.write(folder / name, name)
    else:
        with tarfile.open(path, 'w:gz' if request.param == 'tar.gz' else 'w') as archive:
            for name in NAMES:
                archive.add(folder / name, name)
    return path


def content(found):
    return found.read_bytes() if hasattr(found, 'read_bytes') else found.read()


@pytest.mark.parametrize(
    ('value', 'values'),
    [
        ('a.png', [10]),
        ('/a.png', [10]),  # Magento's paths begin with a slash
        ('deep\\b 1.png', [20]),
        ('deep/b%201.png', [20]),
        ('sku7_*.png', [40, 30]),
        ('x [1].png', [50]),  # a name, not a pattern
        ('**/b*.png', [20]),
        (dict(src='a.png', alt='x'), [10]),
    ],
)
def test_what_a_cell_may_say(root, value, values):
    found = PictureFinder([root], None).find(value)
    assert [content(f) for f in found] == [plain_png(v) for v in values]


def test_nothing_there_names_the_place(folder):
    finder = PictureFinder([folder], None)
    for value in ('b.png', 'deep', '*.jpg', ''):
        with pytest.raises(PictureNotFoundError, match=f'there is no file .* in {folder}'):
            finder.find(value)
    with pytest.raises(PictureNotFoundError, match=r'has not been fetched; run .*fetch_pictures'):
        finder.find('https://shop.example/a.png')


def test_a_root_that_is_none_is_refused(folder, tmp_path):
    for root in (tmp_path / 'nowhere', folder / 'a.png'):
        with pytest.raises(CatalogueError, match='is no folder and no archive'):
            PictureFinder([root], None)
    (tmp_path / 'b.zip').write_text('no archive')
    with pytest.raises(CatalogueError, match='cannot be opened as an archive'):
        PictureFinder([tmp_path / 'b.zip'], None)


def test_fetched_pictures_are_found_by_their_url(tmp_path):
    good, bad, torn = ('https://shop.example/' + name for name in 'abc')
    (tmp_path / url_stem(good)).parent.mkdir(parents=True)
    (tmp_path / url_stem(good)).write_bytes(plain_png(5))
    lines = [dict(url=good, file=url_stem(good)), dict(url=bad, problem='answers 404')]
    text = '\n'.join(map(json.dumps, lines)) + f'\n{{"url": "{torn}", "fi'
    (tmp_path / INDEX).write_text(text)
    finder = PictureFinder([], FetchedPictures(tmp_path))
    assert content(finder.find(good)[0]) == plain_png(5)
    with pytest.raises(PictureNotFoundError, match='b: answers 404'):
        finder.find(bad)
    with pytest.raises(PictureNotFoundError, match='c: has not been fetched'):
        finder.find(torn)


def test_faults_cost_themselves_and_are_named_with_their_line(folder, tmp_path):
    (folder / 'page.png').write_text('<html>')
    (folder / 'empty.png').write_bytes(b'')
    lines = [
        'sku,title,image',
        '1,Mug,a.png',
        '1,Mug,page.png',
        '2,Bowl,empty.png',
        '3,,a.png',
        '4,Pan,gone.png',
        ',Box,a.png',
        '5,Tin,sku7_*.png',
    ]
    (tmp_path / 'feed.csv').write_text('\n'.join(lines))
    target = tmp_path / 'out.parquet'
    report = convert_feed(Feed(tmp_path / 'feed.csv'), target, [folder])
    rows = list(read_catalogue(target, strict=True))
    assert [(row['product_id'], len(row['images'])) for row in rows] == [('1', 1), ('5', 2)]
    assert (report.num_products, report.num_pictures, report.num_left_out) == (2, 3, 3)
    expected = [
        'line 7: has no sku',
        'line 3: the picture',
        'line 4: the picture',
        "line 4: product '2' has no usable picture",
        "line 5: product '3' has no text",
        "line 6: there is no file 'gone.png'",
        "line 6: product '4' has no usable picture",
    ]
    assert len(report.problems) == len(expected)
    for problem, part in zip(report.problems, expected, strict=True):
        assert f'feed.csv, {part}' in problem


def test_a_feed_without_a_column_of_pictures_names_them_by_a_pattern(folder, tmp_path):
    (tmp_path / 'feed.csv').write_text('sku,title\nsku7,Mug\nsku8,Bowl\n')
    settings = dict(pictures=[PictureColumn('{sku}_*.png', 'studio')])
    feed = Feed(tmp_path / 'feed.csv', settings=settings)
    report = convert_feed(feed, tmp_path / 'out.parquet', [folder])
    rows = list(read_catalogue(tmp_path / 'out.parquet'))
    assert [image['source'] for image in rows[0]['images']] == ['studio', 'studio']
    assert report.num_left_out == 1


def test_pictures_are_scaled_down_and_paths_stay_paths(folder, tmp_path):
    (tmp_path / 'feed.csv').write_text('sku,title,image\n1,Mug,pictures/a.png\n')
    feed = Feed(tmp_path / 'feed.csv')
    convert_feed(feed, tmp_path / 'paths.jsonl')
    line = json.loads((tmp_path / 'paths.jsonl').read_text())
    assert line['images'] == [dict(source='merchant', path='pictures/a.png')]
    convert_feed(feed, tmp_path / 'small.parquet', max_size=8)
    assert read_catalogue(tmp_path / 'small.parquet')[0]['images'][0]['bytes'][:2] == b'\xff\xd8'


def test_a_feed_without_a_usable_product_writes_nothing(tmp_path):
    (tmp_path / 'feed.csv').write_text('sku,title,image\n1,Mug,gone.png\n')
    for name in ('out.parquet', 'out.jsonl'):
        with pytest.raises(CatalogueError, match=r'no product can be used: [\s\S]*gone.png'):
            convert_feed(Feed(tmp_path / 'feed.csv'), tmp_path / name)
        assert not (tmp_path / name).exists()
    with pytest.raises(CatalogueError, match="cannot have the suffix '.txt'"):
        convert_feed(Feed(tmp_path / 'feed.csv'), tmp_path / 'out.txt')
