"""Faults of a COCO detection file, counted by kind and named."""

from dataclasses import dataclass, field

#: kind of fault -> what is left out because of it
FAULTS = {
    'broken category': 'categories without an id or a name left out',
    'repeated category': 'categories with the id of an earlier one left out',
    'no product': 'categories without a product left out',
    'no text': 'categories whose product does not fill the text template left out',
    'broken product': 'products without a product_id or a name left out',
    'repeated product': 'products with the name of an earlier one left out',
    'broken image': 'images without an id or a file_name left out',
    'repeated image': 'images with the id of an earlier one left out',
    'missing file': 'images without a file left out',
    'no picture': 'images whose file is not a picture left out',
    'no box': 'annotations without a bbox of four numbers left out',
    'unknown image': 'boxes of an image that the file does not list left out',
    'unknown category': 'boxes of a category that the file does not list left out',
    'of what is left out': 'boxes of images and categories that are left out',
    'zero area': 'boxes without area left out',
    'outside the image': 'boxes outside of their image left out',
    'below a pixel': 'boxes narrower than a pixel (are they fractions of the size?) left out',
    'repeated box': 'boxes that repeat an earlier one left out',
    'crowd': 'crowd boxes left out',
    'small cut-out': 'boxes too small to be cut out left out',
    'unreadable': 'pictures that cannot be decoded left out',
}
#: kind of oddity -> what was made of it
NOTES = {
    'missing list': 'missing lists taken as empty',
    'text number': 'entries with a number written as text, which is read as the number',
    'number id': 'product_ids written as numbers, which have no leading zeros',
    'no id': 'annotations without an id, which is not needed',
    'repeated id': 'annotations with the id of an earlier one, which is not needed',
    'other spelling': 'file_names whose file has another spelling, which is read',
    'no size': 'images without a width and height, for which the size of the file is used',
    'other size': 'images whose file has another size, for whose pixels the boxes are taken',
    'turned': 'photos turned by EXIF whose width and height do not say whether the boxes are of '
    'the picture as stored or as seen (--boxes says it)',
    'same file': 'images with the file of an earlier one, to which their boxes go',
    'same name': 'categories with the name of an earlier one (a class of a detector has one name)',
    'same product': 'categories of the product of an earlier one, to whose row their boxes go',
    'corners': 'files whose boxes look like corners [x1, y1, x2, y2]; COCO has [x, y, w, h]',
}


@dataclass
class CocoFaults:
    """What is odd in one annotation file.

    Attributes:
        where: the file, for messages.
        faults: kind of :data:`FAULTS` -> descriptions of what is left out.
        notes: kind of :data:`NOTES` -> descriptions of what is used all the same.
    """

    where: str
    faults: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, text: str) -> None:
        """Name one fault or note."""
        (self.faults if kind in FAULTS else self.notes).setdefault(kind, []).append(text)

    def lines(self) -> list[str]:
        """A line for each kind: its number, what was done, and the first three descriptions."""
        lines = []
        for kind, texts in (*self.faults.items(), *self.notes.items()):
            more = f'; and {len(texts) - 3} more' if len(texts) > 3 else ''
            what = FAULTS[kind] if kind in FAULTS else NOTES[kind]
            lines.append(f'  - {len(texts)} {what}: {"; ".join(texts[:3])}{more}')
        return lines

    def __str__(self) -> str:
        lines = self.lines()
        return '\n'.join([f'{self.where}:', *lines]) if lines else f'{self.where}: no fault found'
