"""Which columns of a feed make which fields of a catalogue, from a YAML file or a command line."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path

import yaml

from eclip_mm.datasets.converters.feed.texts import TextPart, as_parts
from eclip_mm.datasets.storage.schema import CatalogueError

ROW_NUMBER = 'row number'


@dataclass(frozen=True)
class PictureColumn:
    """Where pictures of a product are named.

    Attributes:
        name: a column with paths, patterns, URLs or pictures; or a template of a path or pattern
            with columns in braces, such as ``{sku}_*.jpg``.
        source: source of the pictures in the catalogue.
        separator: divides several pictures of a cell; None if a cell is one picture.
    """

    name: str
    source: str = 'merchant'
    separator: str | None = None


@dataclass
class FeedMapping:
    """From columns to fields; every name is that of a column.

    Attributes:
        product_id: columns of the id; the first that a row has a value in counts. Rows with the
            same id are one product. ``row number`` stands for no column: a row is a product.
        text: parts of the text.
        pictures: where the pictures are.
        category: columns of the category; the first with a value counts.
        attributes: columns that become attributes of the catalogue. 'all' stands for those that
            are not in use as id, category, picture, or text of their own; 'none' for none.
        leave_out: columns that 'all' does not stand for.
        lists: separators of columns whose cells are lists, such as tags.
        shop: name of the shop system, whose peculiarities are then undone; None for other tables.
    """

    product_id: list[str] = field(default_factory=list)
    text: list[TextPart] = field(default_factory=list)
    pictures: list[PictureColumn] = field(default_factory=list)
    category: list[str] = field(default_factory=list)
    attributes: list[str] | str = 'all'
    leave_out: list[str] = field(default_factory=list)
    lists: dict[str, str] = field(default_factory=dict)
    shop: str | None = None

    def text_columns(self) -> set[str]:
        """Columns that are a text of their own, such as title and description."""
        return {part.columns[0] for part in self.text if part.is_column}

    def check(self, columns: Iterable[str], name: str) -> None:
        """Check that it is complete and that its columns exist.

        Args:
            columns: columns of the feed, with those that its shop system implies.
            name: the feed, for messages.

        Raises:
            CatalogueError: a field has no column, or a column does not exist.
        """
        columns = list(columns)
        for key, option in (
            ('product_id', '--product-id'),
            ('text', '--text'),
            ('pictures', '--picture'),
        ):
            if not getattr(self, key):
                raise CatalogueError(
                    f'{name}: no column looks like the {key.replace("_", " ")} of a product; name '
                    f'it with {option} (columns: {", ".join(columns)})'
                )
        named = [c for c in self.product_id if c != ROW_NUMBER] + self.category
        named += [column for part in self.text for column in part.columns]
        named += [column for picture in self.pictures for column in picture_columns(picture)]
        named += [] if isinstance(self.attributes, str) else self.attributes
        for column in (*named, *self.leave_out, *self.lists):
            if column not in columns:
                near = get_close_matches(column, columns, 1, 0.6)
                hint = f'; did you mean {near[0]!r}?' if near else ''
                raise CatalogueError(
                    f'{name}: has no column {column!r}{hint} (columns: {", ".join(columns)})'
                )

    def to_yaml(self) -> str:
        """The mapping as the text of a YAML file, which ``--mapping`` reads."""
        content = dict(
            shop=self.shop,
            product_id=self.product_id,
            text=[dict(template=part.template, weight=part.weight) for part in self.text],
            category=self.category,
            pictures=[
                {key: value for key, value in vars(picture).items() if value is not None}
                for picture in self.pictures
            ],
            attributes=self.attributes,
            leave_out=self.leave_out,
            lists=self.lists,
        )
        content = {key: value for key, value in content.items() if value not in (None, [], {})}
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=99)


def picture_columns(picture: PictureColumn) -> list[str]:
    """The columns that an entry of ``pictures`` names."""
    return TextPart(picture.name).columns if '{' in picture.name else [picture.name]


def read_mapping(path: str | Path) -> dict:
    """The fields of :class:`FeedMapping` that a YAML file sets.

    Raises:
        CatalogueError: the file cannot be read, or has an unknown key or a value of a wrong type.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise CatalogueError(f'{path}: is not a readable YAML file ({error})') from error
    if not isinstance(content, Mapping):
        raise CatalogueError(f'{path}: is not a mapping; write lines such as: product_id: sku')
    return as_fields(content, str(path))


def as_fields(content: Mapping, where: str) -> dict:
    """Values as :class:`FeedMapping` takes them.

    Args:
        content: keys of :class:`FeedMapping`; a single value may stand for a list of one.
        where: file or option, for messages.

    Raises:
        CatalogueError: a key is unknown, or a value is of a wrong type.
    """
    known = [f.name for f in fields(FeedMapping)]
    found: dict = {}
    for key, value in content.items():
        if key not in known:
            near = get_close_matches(str(key), known, 1)
            hint = f'; did you mean {near[0]!r}?' if near else ''
            raise CatalogueError(f'{where}: unknown key {key!r}{hint} (known: {", ".join(known)})')
        if key == 'text':
            found[key] = as_parts(value, where)
        elif key == 'pictures':
            found[key] = [
                _as_picture(v, where) for v in (value if isinstance(value, list) else [value])
            ]
        elif key == 'lists':
            if not isinstance(value, Mapping) or not all(
                isinstance(v, str) and v for v in value.values()
            ):
                raise CatalogueError(
                    f"{where}: 'lists' is {value!r}; write columns and separators, such as "
                    '{tags: ","}'
                )
            found[key] = dict(value)
        elif key == 'shop' or (key == 'attributes' and value in ('all', 'none')):
            found[key] = value
        else:
            names = value if isinstance(value, list) else [value]
            if not all(isinstance(name, str) for name in names):
                raise CatalogueError(
                    f'{where}: {key!r} is {value!r}; give the name of a column, or a list of names'
                )
            found[key] = names
    return found


def _as_picture(entry: object, where: str) -> PictureColumn:
    if isinstance(entry, str):
        return PictureColumn(entry)
    keys = [f.name for f in fields(PictureColumn)]
    if (
        not isinstance(entry, Mapping)
        or 'name' not in entry
        or set(entry) - set(keys)
        or not all(isinstance(value, str) and value for value in entry.values())
    ):
        raise CatalogueError(
            f"{where}: an entry of 'pictures' is {entry!r}; write the name of a column, or a "
            f'mapping with the strings {", ".join(keys)}'
        )
    return PictureColumn(**entry)
