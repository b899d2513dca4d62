"""``eclip-mm locate --coco``: boxes of named products as labels for a detector."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eclip_mm.cli.inputs import names_in, read_names
from eclip_mm.utils.command import CommandParser

#: options that belong to --coco
OPTIONS = 'names_of classes images labelled labelled_images threshold min_precision squash'.split()


def add_coco(parser: argparse.ArgumentParser) -> None:
    """Add ``--coco`` and its options."""
    group = parser.add_argument_group(
        'boxes as labels',
        'The input is a catalogue, or a folder of pictures. The names are those of --names or\n'
        '--names-file, or the titles of the catalogue. An interrupted command goes on.',
    )
    group.add_argument('--coco', metavar='OUT.json', help='COCO file to write, with scores')
    group.add_argument(
        '--names-of',
        choices=['own', 'all'],
        help='titles to look for in a picture: of the products whose picture it is (default),\n'
        'or of all products',
    )
    group.add_argument(
        '--classes',
        choices=['title', 'category'],
        help='what names the category of a box, default: title',
    )
    group.add_argument(
        '--images',
        metavar='FOLDER',
        help='gets the pictures of a catalogue that have a box; default: OUT_pictures',
    )
    group.add_argument(
        '--labelled',
        metavar='FILE.json',
        help='COCO file of a handful of labelled photos, which fit the shape of boxes and choose\n'
        'the threshold',
    )
    group.add_argument(
        '--labelled-images', metavar='FOLDER', help='of its photos; default: that of the file'
    )
    group.add_argument('--threshold', type=float, help='least score of a box')
    group.add_argument(
        '--min-precision',
        type=float,
        metavar='P',
        help='take the lowest threshold of this precision in the labelled photos, instead of\n'
        'the one of the best F1 at an IoU of 0.5',
    )
    group.add_argument(
        '--squash',
        action='store_true',
        default=None,
        help='show the model squashed pictures as `locate` does, for towers of one size and for\n'
        '--backend onnx; with their own aspect ratio boxes are tighter',
    )


def write_coco(parser: CommandParser, args: argparse.Namespace) -> int:
    """Write the file, and print the threshold and what was written.

    Returns:
        Exit code: 3 if a picture cannot be used, else 0.
    """
    _check(parser, args)
    from tqdm import tqdm

    from eclip_mm.apis import Eclip
    from eclip_mm.apis.box_finder import BoxFinder, BoxSettings
    from eclip_mm.apis.picture_names import all_titles
    from eclip_mm.apis.pseudo_boxes import write_pseudo_boxes
    from eclip_mm.utils.memory import reuse_freed_memory

    reuse_freed_memory()
    pictures = _open_pictures(args)
    names = names_in(args.negatives) if args.negatives else all_titles(pictures.sought)
    negatives = names if len(names) > 1 else None
    eclip = Eclip(args.model, args.device, args.backend, negatives, keep_aspect=not args.squash)
    find = BoxFinder(eclip, BoxSettings(args.boxes_of, args.top_k), args.batch_size)
    threshold = args.threshold
    if threshold is None:
        find, threshold = _fit(args, find, pictures.sought)
    out = Path(args.coco)
    images = args.images
    if images is None and not hasattr(pictures, 'folder'):
        images = out.with_name(f'{out.stem}_pictures')

    def progress(found, total, done):
        return tqdm(found, None, total, initial=done, disable=args.quiet or None, unit='picture')

    report = write_pseudo_boxes(find, pictures, out, threshold, images, progress)
    print(f'{out}: {report}')
    for problem in report.problems[:3]:
        print(f'{parser.prog}: {problem}', file=sys.stderr)
    if more := report.problems[3:]:
        print(f'{parser.prog}: and {len(more)} more pictures without a result', file=sys.stderr)
    return 3 if report.problems else 0


def _check(parser: CommandParser, args: argparse.Namespace) -> None:
    """End with a usage error where arguments do not go together."""
    if args.jsonl or not args.inputs:
        parser.error('--coco needs a catalogue or a folder of pictures, and no --jsonl')
    if args.maps:
        parser.error('--maps does not go with --coco')
    if (args.threshold is None) == (args.labelled is None):
        parser.error(
            'give --labelled FILE.json, which chooses a threshold, or --threshold, and not both'
        )
    for name in ('labelled_images', 'min_precision'):
        if getattr(args, name) is not None and not args.labelled:
            parser.error(f'--{name.replace("_", "-")} needs --labelled')
    if (args.names or args.names_file) and (args.names_of or args.classes):
        parser.error('--names-of and --classes are of titles, and do not go with names')


def check_unused(parser: CommandParser, args: argparse.Namespace) -> None:
    """End with a usage error where an option of ``--coco`` is given without it."""
    for name in OPTIONS:
        if getattr(args, name) is not None:
            parser.error(f'--{name.replace("_", "-")} needs --coco')


def _open_pictures(args: argparse.Namespace):
    from eclip_mm.apis.picture_names import CataloguePictures, FolderPictures

    names = read_names(args) if args.names or args.names_file else None
    [*folders] = [path for path in args.inputs if Path(path).is_dir() and not _has_parquet(path)]
    if not folders:
        return CataloguePictures(
            args.inputs, args.names_of or 'own', args.classes or 'title', names
        )
    if len(args.inputs) > 1:
        raise ValueError(f'{folders[0]} is a folder of pictures: give it alone')
    if names is None:
        raise ValueError(f'{folders[0]} is a folder of pictures: give --names or --names-file')
    if args.images:
        raise ValueError(f'--images is for catalogues; the pictures of {folders[0]} stay there')
    return FolderPictures(folders[0], names)


def _has_parquet(folder: str) -> bool:
    return any(Path(folder).glob('*.parquet'))


def _fit(args: argparse.Namespace, find, sought: Sequence) -> tuple:
    """Fit the shape of boxes to labelled photos, and let these choose the threshold."""
    from eclip_mm.apis.labelled_photos import (
        choose,
        curve_on_photos,
        fit_to_photos,
        read_labelled,
    )

    root = args.labelled_images or Path(args.labelled).parent
    photos = read_labelled(args.labelled, root, {one.label for one in sought})
    own = not (args.names or args.names_file) and args.names_of != 'all'
    shape, overlap = fit_to_photos(find, photos, sought)
    print(f'{args.labelled}: {len(photos)} photos; {shape}, mean IoU {overlap:.3f}', flush=True)
    find = find.with_shape(shape)
    choice = choose(curve_on_photos(find, photos, sought, own), args.min_precision)
    print(f'{args.labelled}: {choice}', flush=True)
    return find, choice.threshold
