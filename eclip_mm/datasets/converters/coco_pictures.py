"""The pictures of a COCO file: whether they can be read, and which picture its boxes are of."""

import numpy as np

from eclip_mm.datasets.converters.coco_faults import CocoFaults
from eclip_mm.datasets.converters.pictures import check_picture
from eclip_mm.datasets.transforms.loading import ImageDecodeError
from eclip_mm.datasets.transforms.orientation import turn_boxes_back, turn_size

BOXES = ('auto', 'stored', 'seen')


def place_boxes(frames: list[dict], boxes: str, faults: CocoFaults) -> list[dict]:
    """Frames whose pictures can be read, with boxes as in a catalogue, of the stored picture.

    Tools that show a photo by its EXIF orientation draw boxes on another picture than is stored.
    Its width and height say so, unless it is square, mirrored or upside down: then the other
    photos of the file decide, and where none does, the boxes are taken to be of the picture as
    seen, with a note.

    Args:
        frames: each with ``path``, ``boxes`` (``bbox`` is xyxy) and ``size``, the (width, height)
            that the file gives, or None where it gives none that fits; it is removed.
        boxes: picture that the boxes are of: ``stored``, ``seen``, or ``auto``, see above.
        faults: faults that receive the frames left out, and the photos that are unclear.
    """
    kept, turned, votes = [], [], set()
    for frame in frames:
        given = frame.pop('size')
        try:
            loaded = check_picture(dict(path=frame['path']))
        except ImageDecodeError as error:
            faults.add('unreadable', str(error))
            continue
        kept.append(frame)
        orientation = loaded['orientations'][0]
        if orientation == 1:
            continue
        stored = loaded['ori_shape'][::-1]
        drawn_on = None
        if boxes == 'auto' and given is not None and stored != turn_size(stored, orientation):
            drawn_on = 'stored' if given == stored else 'seen'
            votes.add(drawn_on)
        turned.append((frame, orientation, stored, drawn_on))
    default = boxes if boxes != 'auto' else votes.pop() if len(votes) == 1 else 'seen'
    for frame, orientation, stored, drawn_on in turned:
        if drawn_on is None and boxes == 'auto':
            faults.add('turned', f"{frame['path']} ('{default}' is assumed)")
        if (drawn_on or default) == 'seen':
            xyxy = np.array([box['bbox'] for box in frame['boxes']], dtype=np.float64)
            placed = turn_boxes_back(xyxy.reshape(-1, 4), orientation, stored)
            frame['boxes'] = [
                {**box, 'bbox': bbox}
                for box, bbox in zip(frame['boxes'], placed.tolist(), strict=True)
            ]
    return kept
