"""Tables of other programs: every cell arrives, and a fault is named with its line."""

import gzip
import json

import pytest

from eclip_mm.datasets import CatalogueError
from eclip_mm.datasets.converters.feed import Feed
from eclip_mm.datasets.converters.feed.feed import FeedReport
from eclip_mm.datasets.converters.feed.tables import read_table

HEADER = 'sku,title,image\n'


def write(folder, name, content, encoding='utf-8'):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def cells(table):
    return [row.values for row in table.rows]


EXPECTED = [
    dict(sku='001', title='Mug, red', image='a.png'),
    dict(sku='002', title='Schüssel', image='b.png'),
]


@pytest.mark.parametrize(
    ('name', 'content', 'encoding'),
    [
        ('a.csv', 'sku,title,image\n001,"Mug, red",a.png\n002,Schüssel,b.png\n', 'utf-8'),
        ('a.csv', 'sku;title;image\r\n001;Mug, red;a.png\r\n002;Schüssel;b.png', 'utf-8-sig'),
        ('a.tsv', 'sku\ttitle\timage\n001\tMug, red\ta.png\n\n002\tSchüssel\tb.png\n', 'utf-16'),
        ('a.txt', 'sku|title|image\r001|Mug, red|a.png\r002|Schüssel|b.png\r', 'utf-8'),
        ('a.json', json.dumps(EXPECTED), 'utf-8'),
        ('a.json', json.dumps(dict(products=EXPECTED), indent=2), 'utf-8-sig'),
        ('a.jsonl', '\n'.join(map(json.dumps, EXPECTED)), 'utf-16'),
    ],
)
@pytest.mark.parametrize('packed', [False, True])
def test_text_files_of_all_kinds(name, content, encoding, packed, tmp_path):
    data = content.encode(encoding)
    if packed:
        name, data = f'{name}.gz', gzip.compress(data)
    table = read_table(write(tmp_path, name, data))
    assert cells(table) == EXPECTED and not table.problems
    assert table.columns == ['sku', 'title', 'image']


def test_another_encoding_is_named_or_refused_with_the_line(tmp_path):
    path = write(tmp_path, 'a.csv', HEADER + '1,Mug,a.png\n2,Schüssel,b.png\n', 'cp1252')
    with pytest.raises(CatalogueError, match=r'a\.csv, line 3: is not utf-8 .*--encoding cp1252'):
        read_table(path)
    assert cells(read_table(path, encoding='cp1252'))[1]['title'] == 'Schüssel'
    with pytest.raises(CatalogueError, match="no encoding is called 'latin9x'"):
        read_table(path, encoding='latin9x')


def test_cells_with_line_ends_and_rows_that_are_too_long(tmp_path):
    text = HEADER + '1,"Mug\nred",a.png\n2,Bowl, blue,b.png\n3,Pan,c.png,,\n4,Box\n'
    table = read_table(write(tmp_path, 'a.csv', text))
    assert cells(table) == [
        dict(sku='1', title='Mug\nred', image='a.png'),
        dict(sku='3', title='Pan', image='c.png'),
        dict(sku='4', title='Box'),
    ]
    assert [row.place.rpartition(', ')[2] for row in table.rows] == ['line 2', 'line 5', 'line 6']
    assert (
        len(table.problems) == 1 and 'line 4: has 4 cells, the header has 3' in table.problems[0]
    )


def test_a_quote_that_is_not_closed_is_named_with_its_line(tmp_path):
    text = HEADER + '1,Mug,a.png\n2,"Bowl,b.png\n3,Pan,c.png\n'
    with pytest.raises(CatalogueError, match='row that begins in line 3: .*close the quote'):
        read_table(write(tmp_path, 'a.csv', text))


def test_a_column_that_is_named_twice_is_a_list(tmp_path):
    text = 'id\timage link\timage link\n1\ta.png\tb.png\n'
    table = read_table(write(tmp_path, 'a.tsv', text))
    assert cells(table) == [{'id': '1', 'image link': ['a.png', 'b.png']}]


#: its compressed part is of no known kind
DAMAGED = b'\x1f\x8b\x08' + b'\0' * 7 + b'\xff' * 20


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.csv', '\n\n', 'a.csv: the file is empty'),
        ('a.csv', HEADER, 'a.csv: has no row with a value'),
        ('a.dbf', 'x', "the suffix '.dbf' is not one of a table"),
        ('a.json', '[{"sku": 1},\n {"sku": }]', r'a.json, line 2: is not JSON'),
        ('a.json', '[1, 2]', 'has no row with a value; the first problem: .*item 1: is int'),
        ('a.xlsx', 'PK', 'a.xlsx: is not an Excel file'),
        ('a.parquet', 'PAR1', 'a.parquet: cannot be read'),
        ('a.csv.gz', b'\x1f\x8b\x00', 'cannot be unpacked'),
        ('b.csv.gz', DAMAGED, 'b.csv.gz: cannot be unpacked'),
        ('a.xml.gz', DAMAGED, 'a.xml.gz: cannot be read'),
    ],
)
def test_what_cannot_be_read_is_named(name, content, message, tmp_path):
    with pytest.raises(CatalogueError, match=message):
        read_table(write(tmp_path, name, content))


def test_a_missing_file_and_a_folder_without_tables_are_named(tmp_path):
    with pytest.raises(CatalogueError, match=r'nowhere\.csv: cannot be read'):
        read_table(tmp_path / 'nowhere.csv')
    with pytest.raises(CatalogueError, match='has no .parquet or .arrow file'):
        read_table(tmp_path)


def test_a_line_of_json_that_is_broken_costs_itself(tmp_path):
    text = '{"sku": "1", "title": "Mug"}\n{"sku": \n{"sku": "3", "title": NaN}\n'
    table = read_table(write(tmp_path, 'a.jsonl', text))
    assert cells(table) == [dict(sku='1', title='Mug'), dict(sku='3')]  # NaN is no value
    assert len(table.problems) == 1 and 'line 2: is not JSON' in table.problems[0]


@pytest.mark.parametrize('depth', [2_000, 99_999])
def test_a_row_that_is_nested_too_deeply_costs_itself(tmp_path, depth):
    deep = '{"a": ' * depth + '1' + '}' * depth
    for text in (f'{deep}\n{{"sku": "3"}}\n', f'{deep}\n{{"sku": \n{{"sku": "3"}}\n'):
        table = read_table(write(tmp_path, 'a.jsonl', text))
        assert cells(table) == [dict(sku='3')]
        assert 'line 1: is nested too deeply' in ' '.join(table.problems)
    with pytest.raises(CatalogueError, match='the first problem: .*is nested too deeply'):
        read_table(write(tmp_path, 'a.json', f'[{deep}]'))


def write_excel(path, sheets):
    openpyxl = pytest.importorskip('openpyxl')
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_excel_keeps_types_and_names_rows(tmp_path):
    sheets = dict(
        Products=[[], ['sku', 'title', 'price', 'sale', None], ['007', ' Mug ', 9.5, True, 'x']],
        Notes=[['sku', 'title'], [12, 'Bowl']],
    )
    path = write_excel(tmp_path / 'a.xlsx', sheets)
    table = read_table(path)
    assert cells(table) == [dict(sku='007', title='Mug', price=9.5, sale=True)]
    assert table.rows[0].place.endswith('a.xlsx, row 3')
    assert cells(read_table(path, sheet='Notes')) == [dict(sku=12, title='Bowl')]
    with pytest.raises(CatalogueError, match="has no sheet 'Note'; it has 'Products', 'Notes'"):
        read_table(path, sheet='Note')


def test_without_openpyxl_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'openpyxl', None)
    path = write(tmp_path, 'a.xlsx', 'x')
    with pytest.raises(CatalogueError, match=r"pip install 'eclip_mm\[feeds\]'"):
        read_table(path)


def test_ids_that_are_numbers_are_read_with_a_warning(tmp_path):
    path = write_excel(
        tmp_path / 'a.xlsx',
        dict(
            Sheet=[['sku', 'title', 'image'], ['007', 'Mug', 'a'], [8, 'Pan', 'b'], [9, 'B', 'c']]
        ),
    )
    report = FeedReport()
    assert list(Feed(path).products(report)) == ['007', '8', '9']
    assert len(report.warnings) == 1
    assert "row 3: the id 'sku' is the number 8 (so are 2 ids)" in report.warnings[0]
    assert 'leading zeros' in report.warnings[0]
