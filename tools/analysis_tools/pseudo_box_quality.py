"""How right the boxes of `eclip-mm locate --coco` are, by the boxes that people have drawn.

    python tools/analysis_tools/pseudo_box_quality.py boxes.json boxes_pictures real.json images

prints precision and recall by score, at an IoU of 0.5 and 0.3. Pictures are found by their
content, since those of a catalogue have other names. Categories have the same names in both files.
"""

import argparse
from pathlib import Path

from eclip_mm.utils.command import CommandParser, run_command

IOUS = (0.5, 0.3)


def parse_args() -> argparse.Namespace:
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('boxes', type=Path, help='COCO file with scores')
    parser.add_argument('pictures', type=Path, help='folder of its pictures')
    parser.add_argument('real', type=Path, help='COCO file with drawn boxes')
    parser.add_argument('images', type=Path, help='folder of its pictures')
    parser.add_argument('--steps', type=int, default=5, help='rows of the table; default: 5')
    parser.add_argument(
        '--sheet', type=Path, help='draw eight pictures, evenly spread: drawn boxes in green'
    )
    return parser.parse_args()


def read_found(boxes: Path, pictures: Path) -> dict[str, list]:
    """Digest of a picture -> its boxes."""
    from eclip_mm.apis.box_finder import FoundBox
    from eclip_mm.datasets.converters.coco_json import read_coco_json
    from eclip_mm.utils.files import sha256_of

    data = read_coco_json(boxes)
    digests = {im['id']: sha256_of(pictures / im['file_name']) for im in data['images']}
    names = {category['id']: category['name'] for category in data['categories']}
    found: dict[str, list] = {digest: [] for digest in digests.values()}
    for box in data['annotations']:
        x, y, width, height = box['bbox']
        corners = (x, y, x + width, y + height)
        one = FoundBox(names[box['category_id']], box['score'], corners)
        found[digests[box['image_id']]].append(one)
    return found


def draw_sheet(photos: list, found: list[list], path: Path) -> tuple[int, int]:
    """Draw eight photos, and count right boxes and all boxes in them.

    Args:
        photos: labelled photos.
        found: boxes in each.
        path: picture to write.
    """
    from PIL import ImageDraw

    from eclip_mm.apis.input_pictures import PictureReader
    from eclip_mm.apis.labelled_photos import mark_right
    from eclip_mm.utils.spread import spread_indices
    from eclip_mm.visualization.canvas import GREEN, ORANGE, draw_frame, grid, to_pil

    read, cells, right, total = PictureReader([dict(type='LoadProductImages')]), [], 0, 0
    for k in spread_indices(len(photos), min(8, len(photos))):
        picture = to_pil(read(photos[k].path).pixels)
        draw = ImageDraw.Draw(picture)
        for boxes in photos[k].boxes.values():
            for box in boxes:
                draw_frame(draw, box, GREEN, 5)
        for one in found[k]:
            draw_frame(draw, one.box, ORANGE, 5)
        right += sum(mark_right(found[k], photos[k].boxes))
        total += len(found[k])
        picture.thumbnail((320, 320))
        cells.append(picture)
    grid(cells, 4).save(path)
    return right, total


def main() -> None:
    args = parse_args()
    from eclip_mm.apis.labelled_photos import curve, mark_right, read_labelled
    from eclip_mm.datasets.converters.coco_check import read_categories
    from eclip_mm.utils.files import sha256_of

    names = [category['name'] for category in read_categories(args.real)]
    photos = read_labelled(args.real, args.images, names)
    found = read_found(args.boxes, args.pictures)
    num_drawn = sum(len(boxes) for photo in photos for boxes in photo.boxes.values())
    scores, right = [], {iou: [] for iou in IOUS}
    of_photos = [found.get(sha256_of(photo.path), []) for photo in photos]
    for photo, boxes in zip(photos, of_photos, strict=True):
        scores += [box.score for box in boxes]
        for iou in IOUS:
            right[iou] += mark_right(boxes, photo.boxes, iou)
    curves = [curve(scores, right[iou], num_drawn) for iou in IOUS]
    print(f'{len(scores)} boxes in {len(photos)} pictures with {num_drawn} drawn boxes')
    print('| score | boxes | ' + ' | '.join(f'precision | recall at {iou}' for iou in IOUS) + ' |')
    print('|---' * (2 + 2 * len(IOUS)) + '|')
    for step in range(1, args.steps + 1):
        row = [choices[round(len(choices) * step / args.steps) - 1] for choices in curves]
        count = sum(score >= row[0].threshold for score in scores)
        figures = ' | '.join(f'{one.precision:.3f} | {one.recall:.3f}' for one in row)
        print(f'| {row[0].threshold:.3f} | {count} | {figures} |')
    if args.sheet is not None:
        count, total = draw_sheet(photos, of_photos, args.sheet)
        print(f'{args.sheet}: {count} of {total} boxes are right')


if __name__ == '__main__':
    run_command(main)
