"""Boxes of named products in many pictures, as a COCO file: labels without an annotator."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

from eclip_mm.apis.box_finder import BoxFinder, FoundIn
from eclip_mm.apis.picture_names import CataloguePictures, FolderPictures, Sought
from eclip_mm.datasets.converters.catalogue_boxes import write_seen_picture
from eclip_mm.datasets.transforms.loading import LoadProductImages
from eclip_mm.utils.files import whole_file
from eclip_mm.utils.journal import Journal


@dataclass
class BoxesReport:
    """What was written, and what was not.

    Attributes:
        num_pictures: number of pictures that were looked at.
        num_images: number of pictures with a box, which are in the file.
        num_boxes, num_categories: numbers of what was written.
        problems: pictures that cannot be used, each with the reason.
    """

    num_pictures: int = 0
    num_images: int = 0
    num_boxes: int = 0
    num_categories: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f'{self.num_boxes} boxes of {self.num_categories} categories in {self.num_images} of '
            f'{self.num_pictures} pictures'
        )


def write_pseudo_boxes(
    find: BoxFinder,
    pictures: FolderPictures | CataloguePictures,
    out: str | Path,
    threshold: float,
    image_dir: str | Path | None = None,
    progress: Callable[[Iterable, int, int], Iterable] = lambda found, total, done: found,
) -> BoxesReport:
    """Write boxes of named products as a COCO file.

    An interrupted call goes on where it stopped: what was found stands in ``{out}.journal`` until
    the file is complete. Pictures without a box are left out, since a training would take them as
    pictures without a product. The memory in use does not depend on the number of boxes.

    Args:
        find: looks for names in pictures.
        pictures: ``FolderPictures`` or ``CataloguePictures``.
        out: COCO JSON file to write. An annotation has ``score``, too.
        threshold: least score of a box.
        image_dir: folder that gets the pictures of a catalogue, upright; None for a folder of
            pictures, to which ``file_name`` is relative then.
        progress: wraps the pictures that are still to do; gets their total and those done.

    Returns:
        Report on what was written.

    Raises:
        ValueError: the journal is of another run, or no box has such a score.
    """
    out, folder = Path(out), getattr(pictures, 'folder', None)
    if image_dir is None and folder is None:
        raise ValueError('image_dir: give a folder for the pictures of the catalogue')
    if image_dir is not None:
        image_dir = Path(image_dir)
        image_dir.mkdir(parents=True, exist_ok=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    key = dict(
        checkpoint=find.eclip.checkpoint['sha256'],
        pictures=pictures.digest(),
        image_dir=None if image_dir is None else str(image_dir.absolute()),
        threshold=threshold,
        settings=dict(asdict(find.settings), keep_aspect=find.eclip.keep_aspect),
    )
    journal = Journal(out.with_name(out.name + '.journal'), key)
    try:
        todo = islice(pictures, journal.num_results, None)
        found = progress(find(todo), len(pictures), journal.num_results)
        for one in found:
            journal.append(_store(one, threshold, image_dir, folder))
    finally:
        journal.close()
    report = _write_coco(out, journal, pictures.sought)
    journal.remove()
    return report


def _store(found: FoundIn, threshold: float, image_dir: Path | None, folder: Path | None) -> dict:
    """A line of the journal; the picture is written first, so that the line means that it is."""
    boxes = [box for box in found.boxes if box.score >= threshold]
    if found.error is not None:
        return dict(error=f'{found.picture.place}: {found.error}')
    if not boxes:
        return {}
    if image_dir is None:
        name = Path(found.picture.picture).relative_to(folder).as_posix()
    else:
        picture = found.picture.picture
        image = dict(bytes=picture) if isinstance(picture, bytes) else dict(path=picture)
        loaded = LoadProductImages()(dict(image_records=[image]))
        name = write_seen_picture(image, loaded, image_dir)
    return dict(file_name=name, size=found.size, boxes=boxes)


def _write_coco(out: Path, journal: Journal, sought: Sequence[Sought]) -> BoxesReport:
    """Write images, then annotations, each by reading the journal once."""
    labels = list(dict.fromkeys(one.label for one in sought))
    number_of = {label: number for number, label in enumerate(labels, 1)}
    report = BoxesReport(num_categories=len(labels))
    with whole_file(out) as part, open(part, 'w', encoding='utf-8') as file:
        file.write('{"images": [')
        for row in journal:
            report.num_pictures += 1
            if 'error' in row:
                report.problems.append(row['error'])
            if not row.get('boxes'):
                continue
            report.num_images += 1
            image = dict(
                id=report.num_images,
                file_name=row['file_name'],
                width=row['size'][0],
                height=row['size'][1],
            )
            file.write(',\n' * (report.num_images > 1) + json.dumps(image))
        file.write('],\n"annotations": [')
        number = 0
        for row in journal:
            number += bool(row.get('boxes'))
            for label, score, (x1, y1, x2, y2) in row.get('boxes', ()):
                report.num_boxes += 1
                box = dict(
                    id=report.num_boxes,
                    image_id=number,
                    category_id=number_of[label],
                    bbox=[x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
                    area=round((x2 - x1) * (y2 - y1), 2),
                    iscrowd=0,
                    score=score,
                )
                file.write(',\n' * (report.num_boxes > 1) + json.dumps(box))
        if not report.num_boxes:  # nothing that a repeated call could go on from
            journal.remove()
            raise ValueError(
                f'{out}: no box in {report.num_pictures} pictures has a score of at least the '
                'threshold; give a lower one'
            )
        names = [dict(id=number, name=label) for label, number in number_of.items()]
        file.write(f'],\n"categories": {json.dumps(names, ensure_ascii=False)}}}\n')
    return report
