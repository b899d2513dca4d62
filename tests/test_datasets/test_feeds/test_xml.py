"""Google's product feed as XML: the same products as its TSV, and nothing of the outside."""

import csv
import gzip
import re
from xml.sax.saxutils import escape

import pytest

from eclip_mm.datasets import CatalogueError, read_catalogue
from eclip_mm.datasets.converters.feed import Feed, convert_feed
from eclip_mm.datasets.converters.feed.tables import read_table
from helpers.feeds import EXPORTS, with_local_pictures

RSS = """<?xml version="1.0" encoding="{encoding}"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel>
<title>Shop</title><link>https://www.shop.example</link><description>All products</description>
{items}
</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">
<title>Shop</title><link rel="self" href="https://www.shop.example/feed"/><id>tag:shop.example</id>
{items}
</feed>"""


def as_xml(tsv, form):
    """A TSV export as RSS or Atom: the same fields, with one element for each further picture."""
    items = []
    for row in csv.DictReader(tsv.read_text(encoding='utf-8').splitlines(), delimiter='\t'):
        fields = ''
        for name, value in row.items():
            # the form of TSV for a field of several parts
            if not value or name.startswith('shipping'):
                continue
            values = [value]
            if name == 'additional image link':
                values = re.split(r',(?=https?://|/)', value)
            for one in values:
                if form is ATOM and name == 'link':
                    fields += f'<link href="{escape(one)}"/>'
                elif name in ('title', 'description', 'link'):
                    name = 'summary' if form is ATOM and name == 'description' else name
                    fields += f'<{name}>{escape(one)}</{name}>\n'
                else:
                    element = f'g:{name.replace(" ", "_")}'
                    fields += f'<{element}><![CDATA[{one}]]></{element}>\n'
        fields += '<g:shipping><g:country>DE</g:country><g:price>4.90 EUR</g:price></g:shipping>'
        if form is ATOM:
            fields += '<id>tag:shop.example,2026:1</id><updated>2026-01-01T00:00:00Z</updated>'
        kind = 'entry' if form is ATOM else 'item'
        items.append(f'<{kind}>{fields}</{kind}>')
    return form.replace('{items}', '\n'.join(items)).replace('{encoding}', 'UTF-8')


@pytest.mark.parametrize(('form', 'name'), [(RSS, 'f.xml'), (ATOM, 'f.atom'), (RSS, 'f.xml.gz')])
def test_products_are_those_of_the_tsv(tmp_path, form, name):
    export = with_local_pictures(EXPORTS['google'], tmp_path)
    text = as_xml(export, form).encode()
    path = export.parent / name
    path.write_bytes(gzip.compress(text) if name.endswith('gz') else text)
    feeds = Feed(export), Feed(path)
    assert [feed.mapping.shop for feed in feeds] == ['google', 'google']
    found = []
    for number, feed in enumerate(feeds):
        report = convert_feed(feed, tmp_path / f'{number}.parquet')
        assert not report.problems and report.num_rows == 10
        found.append(list(read_catalogue(tmp_path / f'{number}.parquet', strict=True)))
    for row in (row for rows in found for row in rows):
        for name in ('shipping(country:price)', 'updated'):
            row['attributes'].pop(name, None)
        row['attributes'] = {n.replace(' ', '_'): v for n, v in row['attributes'].items()}
    assert found[0] == found[1] and len(found[0]) == 8


def test_elements_of_google_count_first_and_encodings_are_those_declared(tmp_path):
    item = '<item><title>Short</title><g:title>Blütenteller</g:title><g:id>007</g:id></item>'
    text = RSS.replace('{items}', f'{item}\n<item><g:id>8</g:id></item>')
    for encoding in ('UTF-8', 'ISO-8859-1', 'windows-1252', 'UTF-16'):
        path = tmp_path / f'{encoding}.xml'
        path.write_bytes(text.replace('{encoding}', encoding).encode(encoding))
        table = read_table(path)
        assert [row.values for row in table.rows] == [
            dict(title='Blütenteller', id='007'),
            dict(id='8'),
        ]
        assert [row.place for row in table.rows] == [f'{path}, line 4', f'{path}, line 5']


def test_html_in_a_description_is_text_and_parts_of_a_field_stay_apart(tmp_path):
    item = (
        '<item><g:id>1</g:id><description>Soft <b>shirt</b><p>with <i>a</i> neck</p></description>'
        '<g:shipping><g:country>DE</g:country><g:price>4.90 EUR</g:price></g:shipping></item>'
    )
    (tmp_path / 'f.xml').write_text(RSS.replace('{items}', item).replace('{encoding}', 'UTF-8'))
    (row,) = read_table(tmp_path / 'f.xml').rows
    assert row.values.pop('description').split() == 'Soft shirt with a neck'.split()
    assert row.values == dict(id='1', shipping=dict(country='DE', price='4.90 EUR'))


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha">' + ''.join(
    f'<!ENTITY {n} "{f"&{m};" * 10}">' for m, n in zip('abcdefghi', 'bcdefghij', strict=True)
)
FAULTS = dict(
    laughs=(LAUGHS + ']><rss><item><id>&j;</id></item></rss>', 'line 1: has a document type'),
    outside=(
        '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><rss><item><id>&f;</id></item></rss>',
        'line 1: has a document type',
    ),
    external=('\n<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd"><rss/>', 'line 2: has a document'),
    page=('<!DOCTYPE html><html><p>Sorry</html>', 'is an HTML page; download the feed itself'),
    prefix=('<rss>\n<item><g:id>1</g:id></item></rss>', 'line 2: is not XML .unbound prefix'),
    cut=(RSS.replace('{encoding}', 'UTF-8')[:200], 'line 3: is not XML'),
    entity=('<rss><item><id>&nbsp;</id></item></rss>', 'is not XML .undefined entity'),
    empty=('', 'is not XML .no element found'),
    other=('<products><product/></products>', 'has no <item> of RSS and no <entry> of Atom'),
    blank=('<rss><item/></rss>', 'has no row with a value'),
    deep=(
        f'<rss xmlns:g="http://base.google.com/ns/1.0"><item>{"<g:a>" * 9999}x'
        f'{"</g:a>" * 9999}</item></rss>',
        'the first problem: .*line 1: is nested too deeply',
    ),
    characters=('<?xml version="1.0" encoding="shift_jis"?><rss/>', 'cannot be read .multi-byte'),
)


@pytest.mark.parametrize(('text', 'words'), FAULTS.values(), ids=FAULTS)
def test_what_is_refused(tmp_path, text, words):
    path = tmp_path / 'feed.xml'
    path.write_text(text, encoding='utf-8')
    with pytest.raises(CatalogueError, match=words) as caught:
        read_table(path)
    # once for the file, and once for the place of a problem
    assert '\n' not in str(caught.value)
    assert str(caught.value).count(str(path)) == 1 + ('the first problem' in str(caught.value))


@pytest.mark.parametrize('suffix', ['.xls', '.xlsb', '.ods', '.numbers'])
def test_other_sheets_are_to_be_saved_as_xlsx(tmp_path, suffix):
    path = tmp_path / f'products{suffix}'
    path.write_bytes(b'\xd0\xcf\x11\xe0')
    with pytest.raises(CatalogueError, match=f'{suffix} files are not read; save it as .xlsx'):
        read_table(path)
