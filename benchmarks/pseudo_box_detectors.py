"""Detectors trained on boxes from words, on real boxes, and on both: snacks, one table.

    python benchmarks/pseudo_box_detectors.py my_model OUT --seeds 0 1 2

The model writes boxes of the products of each training frame (`eclip-mm locate --coco`), with the
threshold that a handful of labelled frames choose. mmdet's RetinaNet is then trained from scratch
on (1) these boxes alone, (2) every tenth frame with real boxes and the others with these, (3)
every tenth frame alone, (4) all frames with real boxes: the same number of steps in each arm.
What is there is not done again, and an interrupted training goes on.
"""

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

from eclip_mm.utils.command import CommandParser, run_command

ROOT = Path(__file__).resolve().parents[1]
ARMS = ('boxes from words', 'and 10% real', '10% real', 'all real')
BATCH = 8


def parse_args() -> argparse.Namespace:
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('model', help='folder of an exported model, or checkpoint')
    parser.add_argument('out', type=Path, help='folder for boxes, trainings and table.md')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--epochs', type=int, default=12, help='of all frames; default: 12')
    parser.add_argument(
        '--every', type=int, default=1, help='look for boxes in every n-th frame; default: 1'
    )
    parser.add_argument('--config', default='configs/detection/retinanet_tiny_snacks.py')
    parser.add_argument('--boxes-of', default='map', help='as of eclip-mm locate')
    parser.add_argument('--names-of', default='own', help='as of eclip-mm locate')
    parser.add_argument('--boxes-only', action='store_true', help='write the boxes and end')
    return parser.parse_args()


def run(*words) -> None:
    """Run a command of this repository; what fails ends the program."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    print('$', *words, flush=True)
    code = subprocess.run([sys.executable, *map(str, words)], env=environment).returncode
    if code:
        sys.exit(code)


def part(real: dict, numbers: set[int], boxes: list[dict] | None = None) -> dict:
    """A COCO file of some frames, with their real boxes or with others.

    Args:
        real: of all frames.
        numbers: ids of the frames that are kept.
        boxes: annotations instead of the real ones.
    """
    kept = [a for a in real['annotations'] if a['image_id'] in numbers]
    images = [image for image in real['images'] if image['id'] in numbers]
    return {**real, 'images': images, 'annotations': kept if boxes is None else boxes}


def named_boxes(found: dict, real: dict, images: Path) -> list[dict]:
    """Boxes of the pictures that were written, as boxes of the frames with the same content."""
    frame_of = {
        hashlib.sha1((images / image['file_name']).read_bytes()).hexdigest()[:16]: image['id']
        for image in real['images']
    }
    number_of = {category['name']: category['id'] for category in real['categories']}
    names = {category['id']: category['name'] for category in found['categories']}
    frames = {image['id']: frame_of[Path(image['file_name']).stem] for image in found['images']}
    return [
        {**box, 'image_id': frames[box['image_id']], 'category_id': number_of[names[category]]}
        for box in found['annotations']
        if (category := box['category_id'])
    ]


def write_arms(args: argparse.Namespace, data: Path) -> dict[str, Path]:
    """The COCO file of each arm."""
    out, annotations, images = args.out, data / 'annotations/train.json', data / 'images'
    real = json.loads(annotations.read_text())
    numbers = [image['id'] for image in real['images']]
    few, handful = set(numbers[::10]), set(numbers[::47])
    (out / 'handful.json').write_text(json.dumps(part(real, handful)))
    if not (out / 'frames.jsonl').exists():
        converter = ROOT / 'tools/dataset_converters/coco.py'
        (out / 'looked.json').write_text(json.dumps(part(real, set(numbers[:: args.every]))))
        run(converter, out / 'looked.json', images, out / 'frames.jsonl', '--text', '{name}')
    if not (out / 'boxes.json').exists():
        command = ['-m', 'eclip_mm.cli', 'locate', args.model, out / 'frames.jsonl']
        labelled = ['--labelled', out / 'handful.json', '--labelled-images', images]
        options = ['--boxes-of', args.boxes_of, '--names-of', args.names_of]
        run(*command, '--coco', out / 'boxes.json', *labelled, *options)
    boxes = named_boxes(json.loads((out / 'boxes.json').read_text()), real, images)
    with_boxes = {box['image_id'] for box in boxes}
    of_few = [box for box in real['annotations'] if box['image_id'] in few]
    mixed = of_few + [box for box in boxes if box['image_id'] not in few]
    mixed = [{**box, 'id': number} for number, box in enumerate(mixed, 1)]
    contents = (
        part(real, with_boxes, boxes),
        part(real, with_boxes | few, mixed),
        part(real, few),
        real,
    )
    files = {}
    for number, (arm, content) in enumerate(zip(ARMS, contents, strict=True)):
        files[arm] = out / f'arm{number}.json'
        files[arm].write_text(json.dumps(content))
    return files


def train(args: argparse.Namespace, file: Path, folder: Path, seed: int, num_frames: int) -> None:
    """Train one detector, or go on, unless it is finished."""
    own = len(json.loads(file.read_text())['images'])
    steps = args.epochs * math.ceil(num_frames / BATCH)
    epochs = math.ceil(steps / math.ceil(own / BATCH))
    if (folder / f'epoch_{epochs}.pth').exists() and (folder / 'done').exists():
        return
    run(
        ROOT / 'tools/train.py',
        ROOT / args.config,
        '--work-dir',
        folder,
        '--resume',
        '--cfg-options',
        f'randomness.seed={seed}',
        f'train_dataloader.dataset.ann_file={file.absolute()}',
        f'train_cfg.max_epochs={epochs}',
        f'train_cfg.val_interval={epochs}',
        f'param_scheduler.1.end={epochs}',
        f'default_hooks.checkpoint.interval={math.ceil(epochs / 6)}',
    )
    (folder / 'done').touch()


def main() -> None:
    args = parse_args()
    data = Path(os.environ.get('ECLIP_MM_DATA', 'data')) / 'snacks'
    args.out.mkdir(parents=True, exist_ok=True)
    files = write_arms(args, data)
    if args.boxes_only:
        return
    num_frames = len(json.loads(files[ARMS[-1]].read_text())['images'])
    runs: dict[str, list[Path]] = {arm: [] for arm in ARMS}
    for seed in args.seeds:
        for number, arm in enumerate(ARMS):
            runs[arm].append(args.out / f'arm{number}_seed{seed}')
            train(args, files[arm], runs[arm][-1], seed, num_frames)
        words = [w for arm in ARMS for w in (f'{arm}={runs[arm][0]}', *runs[arm][1:])]
        compare = ROOT / 'tools/analysis_tools/compare_detection.py'
        run(compare, *words, '--markdown', args.out / 'table.md')


if __name__ == '__main__':
    run_command(main)
