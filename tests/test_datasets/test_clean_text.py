"""Texts of shop systems."""

import json

import pytest

from eclip_mm.datasets import read_catalogue
from eclip_mm.datasets.converters import convert_carrier
from eclip_mm.datasets.transforms import CleanText
from eclip_mm.datasets.transforms.clean_text import clean_text
from helpers.catalogues import make_rows, write_rows


@pytest.mark.parametrize(
    ('text', 'cleaned', 'changes'),
    [
        ('<p>Red&nbsp;mug<br/>of <b>stone</b>ware</p>', 'Red mug of stoneware', ['HTML']),
        ('<td>a</td><TD class="x>y">b</TD>', 'a b', ['HTML']),
        ('&lt;p&gt;mug &amp;amp; cup&lt;/p&gt;', 'mug & cup', ['HTML']),
        ('<style>p {}</style>mug<!-- old -->', 'mug', ['HTML']),
        ('&#8364; 5 &euro; &#x20AC;', '€ 5 € €', ['HTML']),
        ('size <M>, a < b > c, AT&T, black&white, <3', None, []),
        ('H<sub>2</sub>O', 'H2O', ['HTML']),
        ('a\u200bb\ufeff \u00adc\u202e\0', 'ab c', ['invisible characters']),
        ('👩\u200d🍳 apron, می\u200cخواهم', None, []),
        ('best \ud83d', 'best \ufffd', ['invisible characters']),
        ('  white\t space\u00a0\n', 'white space', []),
        ('Cafe\u0301', 'Café', []),
        ('word ' * 6000, ('word ' * 400).strip(), ['length']),
        ('杯' * 30_000, '杯' * 2000, ['length']),
        ('\u200b\u200b', '', ['invisible characters', 'no word']),
        ('★★★ --- 🔥', None, ['no word']),
        ('<br><hr>', '', ['HTML', 'no word']),
        ('<script>' * 5000, '', ['HTML', 'no word']),
        ('<!--' * 8000, '', ['HTML', 'no word']),
        ('红色杯子 7', None, []),
    ],
)
def test_texts(text, cleaned, changes):
    assert clean_text(text) == (text if cleaned is None else cleaned, changes)
    assert clean_text(clean_text(text)[0])[0] == clean_text(text)[0]


def test_the_transform():
    assert CleanText(max_chars=9)(dict(text='<b>red tea</b> pots'))['text'] == 'red tea'
    assert CleanText(max_chars=None)(dict(text='a ' * 5000))['text'] == ('a ' * 5000).strip()


def test_a_copy_is_clean_and_says_so(tmp_path):
    rows = make_rows(4)
    rows[0].update(text='<p>Mug</p>', category='Home &amp; Garden')
    rows[1]['text'] = '***'
    rows[2]['text'] = 'Tea\u200bpot &amp; cup'
    source = write_rows(rows, tmp_path / 'a.jsonl')
    report = convert_carrier(source, tmp_path / 'b.parquet')
    copied = read_catalogue(tmp_path / 'b.parquet', strict=True)
    assert list(copied.texts()) == ['Mug', 'Teapot & cup', 'Product number 3']
    assert list(copied.categories()) == ['Home & Garden', 'even', 'odd']
    lines = str(report).splitlines()
    assert lines == [
        '4 of 4 rows can be used',
        "texts cleaned: 2 of HTML (first: 'p0'), 1 of invisible characters (first: 'p2')",
        '1 products left out, whose text has no word:',
        "  - 'p1': '***'",
    ]
    convert_carrier(source, tmp_path / 'c.jsonl', keep_text=True)
    kept = (tmp_path / 'c.jsonl').read_text().splitlines()
    assert [json.loads(line)['text'] for line in kept] == [row['text'] for row in rows]
