"""Mappings: texts by templates and weights, attributes with one type, files and options."""

import pytest
import yaml

from eclip_mm.datasets import CatalogueError, read_catalogue
from eclip_mm.datasets.converters.feed import (
    Feed,
    FeedMapping,
    PictureColumn,
    TextPart,
    convert_feed,
)
from eclip_mm.datasets.converters.feed.attributes import Attributes
from eclip_mm.datasets.converters.feed.mapping import as_fields, read_mapping
from eclip_mm.datasets.converters.feed.rows import FeedRow, FeedTable
from eclip_mm.datasets.converters.feed.texts import make_text, share_words
from helpers.feeds import EXPORTS, picture


def rows(*values):
    return [FeedRow(f'line {i}', value) for i, value in enumerate(values, 2)]


@pytest.mark.parametrize(
    ('template', 'expected'),
    [
        ('{title}', 'Mug'),
        ('{title}, made of {material}', 'Mug, made of clay'),
        ('{title} by {brand}, made of {material}.', 'Mug, made of clay.'),
        ('{brand}, {title}', 'Mug'),  # the comma goes with the brand
        ('{colour}', 'red'),
        ('{colour*}', 'red, blue'),
        ('{Meta: note!x}', 'odd'),  # the name of a column may contain what templates mean
        ('by {brand}', ''),
    ],
)
def test_a_template_without_a_value_has_no_gap(template, expected):
    product = rows(
        {'title': 'Mug', 'colour': 'red', 'material': 'clay', 'Meta: note!x': 'odd'},
        {'title': 'Cup', 'colour': 'blue'},
    )
    assert TextPart(template).fill(product) == expected


def test_parts_are_joined_as_sentences():
    product = rows(dict(a='One', b='two!', c='three'))
    parts = [TextPart('{a}'), TextPart('{none}'), TextPart('{b}'), TextPart('{c}')]
    assert make_text(product, parts) == 'One. two! three'


@pytest.mark.parametrize(
    ('lengths', 'weights', 'max_words', 'expected'),
    [
        ([3, 4], [1, 1], 10, [3, 4]),  # enough for all
        ([10, 10], [1, 1], 10, [5, 5]),
        ([10, 10], [3, 1], 8, [6, 2]),
        ([2, 100, 100], [2, 1, 1], 42, [2, 20, 20]),  # what the first does not need
        ([5, 100], [0, 1], 50, [0, 50]),
        ([5, 20], [0, 1], 50, [5, 20]),
        ([5, 20], [0, 1], 22, [2, 20]),  # weight 0 gets the rest
        ([5, 5, 5], [1, 1, 1], 2, [1, 1, 0]),
    ],
)
def test_words_are_shared_out_by_weight(lengths, weights, max_words, expected):
    texts = [' '.join(f'{chr(97 + i)}{k}' for k in range(n)) for i, n in enumerate(lengths)]
    cut = dict(zip(texts, expected, strict=True))
    found = share_words(list(zip(texts, weights, strict=True)), max_words)
    assert [text for text, _ in found] == [
        ' '.join(text.split()[:n]) for text, n in cut.items() if n
    ]


def attributes(settings=None, **columns):
    table = FeedTable('feed', list(columns))
    for i in range(max(map(len, columns.values()))):
        table.rows.append(
            FeedRow(f'line {i}', {k: v[i] for k, v in columns.items() if v[i] is not None})
        )
    mapping = dict(product_id='sku', text='title', pictures='image', **(settings or {}))
    return Attributes(table, FeedMapping(**as_fields(mapping, 'test'))).of(table.rows)


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        (['red'], dict(x='red')),
        (['red', 'red'], dict(x='red')),
        (['red', 'blue', None], dict(x=['red', 'blue'])),
        (['9', '12.50'], dict(x=9.0, x_max=12.5)),
        (['9', '9.0'], dict(x=9.0)),
        (['9', 'nine'], dict(x=['9', 'nine'])),
        (['007', '12'], dict(x=['007', '12'])),  # codes
        (['4006381333931', '4006381333948'], dict(x=['4006381333931', '4006381333948'])),
        (['9.90 EUR', '12 EUR'], dict(x=9.9, x_max=12.0, x_currency='EUR')),
        (['9.90 EUR', '12 USD'], dict(x=['9.90 EUR', '12 USD'])),
        (['TRUE', 'false'], dict(x=True)),
        (['false', None], dict(x=False)),
        ([True, False], dict(x=True)),
        ([3, 4.5], dict(x=3.0, x_max=4.5)),
        ([3, 'x'], dict(x=['3', 'x'])),
        ([['a', 'b'], ['b', 'c']], dict(x=['a', 'b', 'c'])),
        ([['a'], None], dict(x=['a'])),
        ([[dict(a=1)], None], {}),  # nested data are no attribute
        ([dict(a=1)], {}),
        ([None], {}),
    ],
)
def test_an_attribute_has_the_type_of_its_column(values, expected):
    assert attributes(x=values) == expected


def test_codes_are_no_numbers_whatever_they_look_like():
    assert attributes(**{'Variant SKU': ['12']}) == {'Variant SKU': '12'}
    assert attributes(gtin=['12']) == dict(gtin='12')
    assert attributes(width=['12']) == dict(width=12.0)  # 'id' inside of a word


def test_lists_are_divided_and_columns_in_use_are_no_attributes():
    columns = dict(sku=['1'], title=['Mug'], image=['a.png'], tags=['a, b,'], brand=['Acme'])
    assert attributes(dict(lists=dict(tags=',')), **columns) == dict(tags=['a', 'b'], brand='Acme')
    assert attributes(dict(attributes=['sku']), **columns) == dict(sku='1')
    assert attributes(dict(attributes='none'), **columns) == {}
    assert attributes(dict(leave_out='tags'), **columns) == dict(brand='Acme')


@pytest.mark.parametrize('shop', EXPORTS)
def test_the_mapping_that_is_shown_gives_the_same_result(shop, tmp_path):
    guessed = Feed(EXPORTS[shop]).mapping
    path = tmp_path / 'mapping.yaml'
    path.write_text(guessed.to_yaml(), encoding='utf-8')
    assert Feed(EXPORTS[shop], settings=read_mapping(path)).mapping == guessed


def table_file(folder, header, line='1,2,3'):
    path = folder / 'a.csv'
    path.write_text(f'{header}\n{line}\n')
    return path


def test_an_unknown_table_is_guessed_from_common_names(tmp_path):
    mapping = Feed(table_file(tmp_path, 'Item-ID,Product Name,Image URL')).mapping
    assert mapping.product_id == ['Item-ID'] and mapping.shop is None
    assert mapping.text == [TextPart('{Product Name}', 3)]
    assert mapping.pictures[0].name == 'Image URL'


@pytest.mark.parametrize(
    ('header', 'settings', 'message'),
    [
        (
            'foo,title,image',
            {},
            'no column looks like the product id .* --product-id .*foo, title',
        ),
        ('sku,foo,image', {}, 'no column looks like the text .* --text'),
        ('sku,title,foo', {}, 'no column looks like the pictures .* --picture'),
        ('sku,title,image', dict(category=['Titel']), "has no column 'Titel'; did you mean"),
        ('sku,title,image', dict(text=[TextPart('{titles}')]), "no column 'titles'; did you"),
        ('sku,title,image', dict(shop='shopifi'), "no shop system is called 'shopifi'"),
    ],
)
def test_what_does_not_fit_names_the_column_and_the_option(header, settings, message, tmp_path):
    with pytest.raises(CatalogueError, match=message):
        Feed(table_file(tmp_path, header), settings=settings)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('product: sku', "unknown key 'product'; did you mean 'product_id'"),
        ('product_id: 3', "'product_id' is 3; give the name of a column"),
        ('text: {template: "{a}", weigth: 2}', "unknown key 'weigth'"),
        ('text: {template: "{a}", weight: -1}', 'the weight is -1'),
        ('text: "no column }"', 'text'),
        ('pictures: {name: image, seperator: ","}', "an entry of 'pictures' is"),
        ('lists: [tags]', "'lists' is"),
        ('- a', 'is not a mapping'),
        ('a: [', 'is not a readable YAML file'),
    ],
)
def test_a_mapping_file_is_checked(content, message, tmp_path):
    path = tmp_path / 'm.yaml'
    path.write_text(yaml.safe_dump(content) if not isinstance(content, str) else content)
    with pytest.raises(CatalogueError, match=message):
        read_mapping(path)


def test_texts_are_clean_before_their_words_are_shared_out(tmp_path):
    """HTML takes no share of the words; what has no word is left out and not counted."""
    (tmp_path / 'a.png').write_bytes(picture('a.png'))
    lines = [
        'id,title,description,maker,image',
        '1,Mug &amp; lid,<p class=x>one<br>two three</p>,A&amp;B,a.png',
        '2,***,<br>,A,a.png',
    ]
    (tmp_path / 'f.csv').write_text('\n'.join(lines))
    settings = dict(
        text=[TextPart('{title}'), TextPart('{description}')],
        pictures=[PictureColumn('image')],
        attributes=['maker'],
    )
    feed = Feed(tmp_path / 'f.csv', 'none', settings)
    report = convert_feed(feed, tmp_path / 'c.parquet', max_words=6)
    (row,) = read_catalogue(tmp_path / 'c.parquet', strict=True)
    assert row['text'] == 'Mug & lid. one two three'
    assert row['attributes'] == {'maker': 'A&B'}
    assert (report.num_products, report.num_pictures) == (1, 1)
    shown = str(report)
    assert (
        "of HTML (first: '1')" in shown and '1 products left out, whose text has no word' in shown
    )
