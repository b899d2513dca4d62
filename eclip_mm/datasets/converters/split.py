"""Division of a catalogue into training and validation, by product or by picture."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from eclip_mm.datasets.catalogue import JSONL_SUFFIXES, PARQUET_SUFFIX, read_catalogue
from eclip_mm.datasets.storage.report import CatalogueReport
from eclip_mm.datasets.storage.schema import CatalogueError
from eclip_mm.datasets.storage.writers import JsonLinesCatalogueWriter, ParquetCatalogueWriter

SPLITS = ('train', 'val')


@dataclass
class SplitReport:
    """Report on both files.

    Attributes:
        by: ``product`` or ``picture``.
        files: split -> file.
        num_products, num_pictures: split -> number in its file.
        num_single: products that have one picture, or copies of one, and therefore stay in
            training; by picture only.
        num_in_both: pictures in both files, which show several products or belong to several rows.
        catalogue: what the source lacks.
    """

    by: str
    files: dict[str, Path]
    catalogue: CatalogueReport
    num_products: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    num_pictures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    num_single: int = 0
    num_in_both: int = 0

    def __str__(self) -> str:
        counts = self.num_products if self.by == 'product' else self.num_pictures
        total = sum(counts.values())
        lines = [
            f'{self.files[split]}: {self.num_products[split]} products, '
            f'{self.num_pictures[split]} pictures ({counts[split] / total:.1%} of the {self.by}s)'
            for split in SPLITS
        ]
        if self.num_single:
            lines.append(
                f'{self.num_single} products have a single picture, which stays in training'
            )
        if self.num_in_both:
            lines.append(
                f'{self.num_in_both} pictures are in both files, as pictures of several products'
            )
        if self.catalogue:
            lines.append(f'the source: {self.catalogue}')
        return '\n'.join(lines)


def split_catalogue(
    source: str | Path,
    val: float = 0.1,
    by: str = 'product',
    out_dir: str | Path | None = None,
    seed: int = 0,
    progress: Callable[[Iterable], Iterable] = lambda rows: rows,
) -> SplitReport:
    """Write ``{stem}_train`` and ``{stem}_val`` in the format of the source.

    The choice follows from hashes, not from the order of the rows: a product (or a picture of a
    product) whose hash is below ``val`` goes to validation, wherever it stands.

    - By product, validation has products that training does not have, with all their pictures.
      Its share is close to ``val``, not exact, and products that are added later move no other.
    - By picture, each product with several pictures gives one of them or more to validation and
      keeps one or more. With few pictures a product, the share is therefore larger than a small
      ``val``, and a picture that is added to a product may move another one of it. Products with
      one picture stay in training. Pictures with the same bytes count as one, and stay together.

    JSON Lines keep naming the pictures where they are; Parquet contains them.

    Args:
        source: catalogue to read: a ``.jsonl`` or ``.parquet`` file, or a folder of ``.parquet``
            files.
        val: share of the products, or of the pictures, that go to validation.
        by: ``product`` or ``picture``.
        out_dir: folder for both files. Defaults to that of the source.
        seed: another seed gives another division.
        progress: function that wraps the row numbers.

    Returns:
        Report with counts.

    Raises:
        CatalogueError: the source cannot be read, an argument is unknown, one of the files
            exists, or nothing is left for one of them.
    """
    if by not in ('product', 'picture'):
        raise CatalogueError(f"by is {by!r}; use 'product' or 'picture'")
    if not 0 < val < 1:
        raise CatalogueError(f'val is {val}; give a share between 0 and 1, such as 0.1')
    source = Path(source)
    rows = read_catalogue(source)
    files = _name_files(source, out_dir)
    if by == 'product':
        held_out = _choose_products(source, rows.product_ids, val, seed)
    report = SplitReport(by, files, rows.report)
    seen: dict[str, set[bytes]] = {split: set() for split in SPLITS}
    with _open(files['train']) as train, _open(files['val']) as held:
        writers = dict(train=train, val=held)
        for index in progress(range(len(rows))):
            row = rows.load(index)
            keys = [_content(image, source, row['product_id']) for image in row['images']]
            if by == 'product':
                in_val = set(keys) if row['product_id'] in held_out else set()
            else:
                in_val = _choose_pictures(keys, val, seed)
                report.num_single += not in_val
            for split in SPLITS:
                chosen = [i for i, key in enumerate(keys) if (key in in_val) == (split == 'val')]
                if chosen:
                    images = [row['images'][i] for i in chosen]
                    writers[split].write({**row, 'images': images})
                    report.num_products[split] += 1
                    report.num_pictures[split] += len(images)
                    seen[split].update(keys[i] for i in chosen)
        if not report.num_products['val']:
            raise CatalogueError(
                f'{source}: no product has two different pictures, so that none can be kept out '
                "of training by picture; use by='product'"
            )
    report.num_in_both = len(seen['train'] & seen['val'])
    return report


def _name_files(source: Path, out_dir: str | Path | None) -> dict[str, Path]:
    """Split -> file.

    Raises:
        CatalogueError: one of them exists, or the source has no name of its own.
    """
    if not source.exists():
        raise CatalogueError(
            f'{source} is a pattern; give one file, or a folder of .parquet files'
        )
    folder = source.parent if out_dir is None else Path(out_dir)
    suffix = PARQUET_SUFFIX if source.is_dir() else source.suffix
    stem = source.name if source.is_dir() else source.stem
    files = {split: folder / f'{stem}_{split}{suffix}' for split in SPLITS}
    for file in files.values():
        if file.exists():
            raise CatalogueError(
                f'{file} exists and is not overwritten; remove it or name another folder'
            )
    return files


def _open(file: Path) -> JsonLinesCatalogueWriter | ParquetCatalogueWriter:
    is_json = file.suffix in JSONL_SUFFIXES
    return JsonLinesCatalogueWriter(file) if is_json else ParquetCatalogueWriter(file)


def _content(image: dict, source: Path, product_id: str) -> bytes:
    """Hash of a picture's file, which is the same wherever the picture is stored."""
    try:
        data = image['bytes'] if 'bytes' in image else Path(image['path']).read_bytes()
    except OSError as error:
        raise CatalogueError(
            f"{source}: the picture '{image['path']}' of product {product_id!r} cannot be read "
            f'({error.strerror}); mend it or remove it from the row'
        ) from error
    return hashlib.blake2b(data, digest_size=16).digest()


def _draw(key: bytes, seed: int) -> float:
    """A number in [0, 1) that follows from a key."""
    digest = hashlib.blake2b(f'{seed}/'.encode() + key, digest_size=7).digest()
    return int.from_bytes(digest, 'little') / 2**56


def _choose_products(source: Path, product_ids: list[str], val: float, seed: int) -> set[str]:
    """The products of validation: at least one, and not all."""
    if len(product_ids) < 2:
        raise CatalogueError(f'{source}: one product cannot be divided; split it by picture')
    drawn = {product_id: _draw(product_id.encode(), seed) for product_id in product_ids}
    return _choose(drawn, val)


def _choose_pictures(keys: list[bytes], val: float, seed: int) -> set[bytes]:
    """The pictures of validation: at least one and not all of several, none of one."""
    drawn = {key: _draw(key, seed) for key in keys}
    return _choose(drawn, val) if len(drawn) > 1 else set()


def _choose(drawn: dict, val: float) -> set:
    """Those with a number below ``val``, but at least the lowest and never the highest."""
    order = sorted(drawn, key=drawn.__getitem__)
    return {key for key in order[:-1] if drawn[key] < val} or {order[0]}
