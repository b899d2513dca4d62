"""What the exports of shop systems look like: the columns that each field is made of.

The formats are those of the public documentation: Google's product data specification, Shopify's
product CSV (both generations of its headers), WooCommerce's product CSV schema, Adobe Commerce's
(Magento 2) product attributes, and the features that `datasets` stores.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from eclip_mm.datasets.converters.feed.expand import expand_magento, expand_options, expand_woo
from eclip_mm.datasets.converters.feed.mapping import ROW_NUMBER, FeedMapping, PictureColumn
from eclip_mm.datasets.converters.feed.rows import FeedTable
from eclip_mm.datasets.converters.feed.texts import ALL_VALUES, TextPart
from eclip_mm.datasets.storage.schema import CatalogueError


@dataclass(frozen=True)
class Shop:
    """The export of a shop system. Columns are written as :func:`plain` writes them.

    Attributes:
        needs: the export has a column of each of these groups.
        product_id, category: candidates; those that exist are used, the first with a value counts.
        text: (template, weight) with alternatives ``{a|b}``; what names no column of the export is
            left out.
        pictures: (column, source, separator).
        lists: separators of columns whose cells are lists.
        leave_out: columns that say nothing of the product.
        expand: undoes peculiarities of the rows.
    """

    needs: Sequence[Sequence[str]]
    product_id: Sequence[str]
    text: Sequence[tuple[str, float]]
    pictures: Sequence[tuple[str, str, str | None]]
    category: Sequence[str] = ()
    lists: dict[str, str] = field(default_factory=dict)
    leave_out: Sequence[str] = ()
    expand: Callable[[FeedTable], None] | None = None


SHOPS = {
    'google': Shop(
        needs=[['id'], ['title'], ['image_link'], ['link', 'availability', 'price', 'brand']],
        product_id=['item_group_id', 'id'],
        text=[
            ('{title}', 3),
            ('{brand} {color*} {material*} {pattern*}', 2),
            ('{description}', 1),
        ],
        category=['product_type', 'google_product_category'],
        pictures=[('image_link', 'merchant', None), ('additional_image_link', 'merchant', ',')],
        leave_out=['link', 'mobile_link', 'canonical_link', 'lifestyle_image_link'],
    ),
    'shopify': Shop(
        needs=[
            ['handle', 'url_handle'],
            ['title'],
            ['body_html', 'description', 'variant_sku', 'sku'],
            ['image_src', 'product_image_url', 'variant_image', 'images'],
        ],
        product_id=['handle', 'url_handle'],
        text=[
            ('{title}', 3),
            ('{vendor} {options*}', 2),
            ('{body_html|description}', 1),
        ],
        category=['type', 'product_type', 'product_category'],
        pictures=[
            ('image_src', 'merchant', None),
            ('product_image_url', 'merchant', None),
            ('variant_image', 'merchant', None),
            ('variant_image_url', 'merchant', None),
            ('images', 'merchant', None),
        ],
        lists={'tags': ','},
        leave_out=['image_position', 'image_alt_text', 'seo_title', 'seo_description', 'variants'],
        expand=expand_options,
    ),
    'woocommerce': Shop(
        needs=[['sku'], ['type'], ['name'], ['images'], ['parent', 'regular_price', 'categories']],
        product_id=['product'],
        text=[('{name}', 3), ('{options*}', 2), ('{short_description}', 1), ('{description}', 1)],
        category=['categories'],
        pictures=[('images', 'merchant', ',')],
        lists={'tags': ','},
        leave_out=['position', 'purchase_note', 'external_url', 'button_text'],
        expand=expand_woo,
    ),
    'magento': Shop(
        needs=[['sku'], ['name'], ['attribute_set_code', 'product_type'], ['base_image']],
        product_id=['product'],
        text=[
            ('{name}', 3),
            ('{manufacturer} {color*} {material*}', 2),
            ('{short_description}', 1),
            ('{description}', 1),
        ],
        category=['categories'],
        pictures=[('base_image', 'merchant', None), ('additional_images', 'merchant', ',')],
        leave_out=[
            *('small_image', 'thumbnail_image', 'swatch_image', 'base_image_label'),
            *('small_image_label', 'thumbnail_image_label', 'additional_image_labels'),
            *('url_key', 'meta_title', 'meta_keywords', 'meta_description'),
            *('created_at', 'updated_at', 'store_view_code', 'configurable_variation_labels'),
        ],
        expand=expand_magento,
    ),
}
SHOP_NAMES = (*SHOPS, 'datasets')

# Tables of no known system, and exports of `datasets`: candidates for each field, best first.
_IDS = ('product_id', 'item_id', 'id', 'sku', 'handle', 'asin', 'article_id', 'code', 'product')
_TITLES = ('title', 'name', 'product_name', 'product_title', 'text', 'caption', 'prompt', 'label')
_DESCRIPTIONS = ('description', 'body', 'long_description', 'details')
_DETAILS = ('brand', 'color', 'colour', 'material')
_CATEGORIES = ('category', 'categories', 'product_type', 'category_name', 'class', 'label')
_PICTURES = (
    'image', 'images', 'image_link', 'image_url', 'image_urls', 'img', 'image_path', 'image_file',
    'picture', 'pictures', 'photo', 'photos', 'file_name', 'filename', 'path', 'url',
)  # fmt: skip


def plain(column: str) -> str:
    """A name of a column in lower case with underscores: 'Body (HTML)' becomes 'body_html'."""
    return re.sub(r'[^a-z0-9]+', '_', column.lower()).strip('_')


def guess_shop(table: FeedTable) -> str | None:
    """The shop system whose export has these columns; None for other tables."""
    columns = {plain(column) for column in table.columns}
    for name, shop in SHOPS.items():
        if all(columns.intersection(group) for group in shop.needs):
            return name
    if table.class_columns or table.picture_columns or 'file_name' in columns:
        return 'datasets'
    return None


def undo_peculiarities(table: FeedTable, shop: str) -> None:
    """Bring the rows of a shop's export into the form of any other table.

    Raises:
        CatalogueError: it is no export of this shop system.
    """
    columns = {plain(column) for column in table.columns}
    for group in SHOPS[shop].needs:
        if not columns.intersection(group):
            raise CatalogueError(
                f'{table.name}: is no export of {shop}: it has no column {" or ".join(group)} '
                f'(columns: {", ".join(table.columns)})'
            )
    if SHOPS[shop].expand is not None:
        SHOPS[shop].expand(table)


def guess_mapping(table: FeedTable, shop: str | None) -> FeedMapping:
    """The mapping of a table, as far as the names of its columns say it.

    Args:
        table: the table; a shop's peculiarities have been undone.
        shop: name of the shop system, or None.
    """
    actual = {plain(column): column for column in reversed(table.columns)}
    if shop in SHOPS:
        return replace(_of_shop(SHOPS[shop], actual), shop=shop)
    titles = [actual[name] for name in _TITLES if name in actual][:1]
    descriptions = [actual[name] for name in _DESCRIPTIONS if name in actual][:1]
    details = [f'{{{actual[name]}{ALL_VALUES}}}' for name in _DETAILS if name in actual]
    text = [TextPart(f'{{{title}}}', 3) for title in titles]
    text += [TextPart(' '.join(details), 2)] if details else []
    text += [TextPart(f'{{{description}}}', 1) for description in descriptions]
    ids = [actual[name] for name in _IDS if name in actual][:1]
    pictures = table.picture_columns or [actual[n] for n in _PICTURES if n in actual][:1]
    categories = [actual[name] for name in _CATEGORIES if name in actual]
    categories = [name for name in categories if name not in ids]
    return FeedMapping(
        product_id=ids or ([ROW_NUMBER] if shop == 'datasets' else []),
        text=text or [],
        category=(table.class_columns or categories)[:1],
        pictures=[PictureColumn(name) for name in pictures],
        shop=shop,
    )


def _of_shop(shop: Shop, actual: dict[str, str]) -> FeedMapping:
    parts = []
    for template, weight in shop.text:
        names = re.findall(r'{([^}]*)}', template)
        found = []
        for name in names:
            star = ALL_VALUES if name.endswith(ALL_VALUES) else ''
            options = name.removesuffix(ALL_VALUES).split('|')
            found += [f'{{{actual[n]}{star}}}' for n in options if n in actual][:1]
        if found:
            parts.append(TextPart(' '.join(found), weight))
    return FeedMapping(
        product_id=[actual[name] for name in shop.product_id if name in actual],
        text=parts,
        category=[actual[name] for name in shop.category if name in actual],
        pictures=[
            PictureColumn(actual[name], source, separator)
            for name, source, separator in shop.pictures
            if name in actual
        ],
        leave_out=[actual[name] for name in shop.leave_out if name in actual],
        lists={actual[name]: sep for name, sep in shop.lists.items() if name in actual},
    )
