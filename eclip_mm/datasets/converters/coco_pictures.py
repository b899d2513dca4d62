"""The pictures of a COCO file: whether they can be read, and which picture its boxes are of."""

import logging

import numpy as np
from mmengine.logging import print_log

from eclip_mm.datasets.converters.pictures import check_picture
from eclip_mm.datasets.transforms.loading import ImageDecodeError
from eclip_mm.datasets.transforms.orientation import turn_boxes_back, turn_size

BOXES = ('auto', 'stored', 'seen')


def place_boxes(frames: list[dict], boxes: str, problems: list[str], where: str) -> list[dict]:
    """Frames whose pictures can be read, with boxes as in a catalogue, of the stored picture.

    Tools that show a photo by its EXIF orientation draw boxes on another picture than is stored.
    Its width and height say so, unless it is square, mirrored or upside down: then the other
    photos of the file decide, and where none does, the boxes are taken to be of the picture as
    seen, with a warning.

    Args:
        frames: each with ``path``, ``boxes`` (``bbox`` is xyxy) and ``size``, the (width, height)
            that the file gives, or None; it is removed.
        boxes: picture that the boxes are of: ``stored``, ``seen``, or ``auto``, see above.
        problems: list that receives the frames left out.
        where: name of the file, for messages.
    """
    kept, unclear, votes = [], [], set()
    for frame in frames:
        given = frame.pop('size')
        try:
            loaded = check_picture(dict(path=frame['path']))
        except ImageDecodeError as error:
            problems.append(str(error))
            continue
        stored = loaded['ori_shape'][::-1]
        orientation = loaded['orientations'][0]
        seen = turn_size(stored, orientation)
        known = bool(given) and all(given)
        if known and tuple(given) not in (stored, seen):
            problems.append(
                f'{frame["path"]}: it has {stored[0]} x {stored[1]} pixels, and {where} says '
                f'{given[0]} x {given[1]}; its boxes would be in the wrong place'
            )
            continue
        kept.append(frame)
        if orientation == 1:
            continue
        if boxes == 'auto' and known and stored != seen:
            drawn_on = 'stored' if tuple(given) == stored else 'seen'
            votes.add(drawn_on)
        else:
            drawn_on = None
        unclear.append((frame, orientation, stored, drawn_on))
    default = boxes if boxes != 'auto' else votes.pop() if len(votes) == 1 else 'seen'
    ambiguous = [turned[0]['path'] for turned in unclear if turned[3] is None]
    if ambiguous and boxes == 'auto':
        print_log(
            f'{where}: {len(ambiguous)} pictures are stored turned by EXIF, and their width and '
            f'height do not say whether the boxes are of the picture as stored or as seen; '
            f"'{default}' is assumed; --boxes says otherwise. The first: {ambiguous[0]}",
            logger='current',
            level=logging.WARNING,
        )
    for frame, orientation, stored, drawn_on in unclear:
        if (drawn_on or default) == 'seen':
            xyxy = np.array([box['bbox'] for box in frame['boxes']], dtype=np.float64)
            turned = turn_boxes_back(xyxy.reshape(-1, 4), orientation, stored)
            frame['boxes'] = [
                {**box, 'bbox': bbox}
                for box, bbox in zip(frame['boxes'], turned.tolist(), strict=True)
            ]
    return kept
