"""Pictures and texts as users have them: paths, bytes, PIL pictures, arrays, strings."""

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eclip_mm.datasets.storage.words import is_unicode
from eclip_mm.datasets.transforms.loading import ImageDecodeError, to_rgb
from eclip_mm.datasets.transforms.orientation import ORIENTATION, read_orientation
from eclip_mm.registry import TRANSFORMS

#: a string that ends like this is the path of a picture, any other one is a text
SUFFIXES = tuple(
    '.jpg .jpeg .png .webp .gif .bmp .tif .tiff .heic .heif .avif .jxl .ppm .mpo .jfif'.split()
)


class InputError(ValueError):
    """One input cannot be used; the message is one line that says why."""


@dataclass
class ReadPicture:
    """A picture that has been decoded.

    Attributes:
        pixels: (3, H, W) uint8, the network input.
        size: (width, height) in pixels of the original picture as it is seen, with its
            EXIF orientation applied.
        place: xyxy in pixels of the network input: where the whole picture lies there.
    """

    pixels: Tensor
    size: tuple[int, int]
    place: tuple[float, float, float, float]

    def to_original(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (K, 4) xyxy in pixels of the network input -> of the original picture."""
        x1, y1, x2, y2 = self.place
        scale = np.array([self.size[0] / (x2 - x1), self.size[1] / (y2 - y1)] * 2)
        return ((boxes - [x1, y1, x1, y1]) * scale).clip(0, [*self.size, *self.size])


@dataclass
class Item:
    """One input; ``picture`` or ``text`` is None where it has none.

    Attributes:
        picture: as the user gave it, or decoded.
    """

    picture: object | ReadPicture = None
    text: str | None = None


def with_own_aspect(transforms: list[dict], multiple: int) -> list[dict]:
    """A test pipeline whose pictures keep their aspect ratio, at the same area.

    Args:
        transforms: configs, of which one is ``Resize``.
        multiple: what their sides are multiples of, in pixels.

    Raises:
        ValueError: there is no ``Resize``.
    """
    steps = [dict(step) for step in transforms]
    found = [step for step in steps if step['type'].rpartition('.')[2] == 'Resize']
    if len(found) != 1:
        raise ValueError(
            'keep_aspect: the pictures of this model are not made by one Resize; leave '
            'keep_aspect out'
        )
    size = found[0]['size']
    height, width = (size, size) if isinstance(size, int) else size
    side = round((height * width) ** 0.5)
    found[0].update(type='ResizeToArea', size=side, multiple=multiple)
    return steps


def groups_of_one_size(items: Sequence[Item]) -> list[list[int]]:
    """Numbers of the items that can pass a model together; texts go with the first pictures."""
    groups: dict[tuple, list[int]] = {}
    for number, item in enumerate(items):
        if item.picture is not None:
            groups.setdefault(tuple(item.picture.pixels.shape), []).append(number)
    texts = [number for number, item in enumerate(items) if item.picture is None]
    found = list(groups.values()) or [[]]
    found[0] = sorted(found[0] + texts)
    return found


def is_one(inputs) -> bool:
    """Whether this is one input, and not several."""
    if isinstance(inputs, np.ndarray):
        return inputs.ndim != 4
    return isinstance(inputs, (str, Path, bytes, Image.Image, Mapping))


def parse_item(value, takes: str = 'any') -> Item:
    """
    Args:
        value: a string, a path, the bytes of a file, a PIL picture, an array, or a
            dict with ``image``, ``text`` or both.
        takes: ``any``, where a string that does not end like a picture is a text;
            ``picture``, where every string is a path; ``both``, a picture that may
            have a text.

    Raises:
        InputError: the value is none of these, or the text is empty.
    """
    if isinstance(value, Mapping):
        if not value or value.keys() - {'image', 'text'}:
            raise InputError(
                f"a dict has 'image', 'text' or both and no other key, got {sorted(value)}"
            )
        item = Item(value.get('image'), value.get('text'))
    elif takes == 'any' and isinstance(value, str) and not value.lower().endswith(SUFFIXES):
        item = Item(text=value)
    else:
        item = Item(picture=value)
    if item.text is not None and (not isinstance(item.text, str) or not item.text.strip()):
        raise InputError(f'a text is a string that is not empty, got {item.text!r}')
    if item.text is not None and not is_unicode(item.text):
        raise InputError(
            f'a text is Unicode, and this one has half of a character: {item.text!a:.60}'
        )
    if item.picture is None and (takes != 'any' or item.text is None):
        raise InputError('there is no picture' + ' and no text' * (takes == 'any'))
    if takes == 'picture' and item.text is not None:
        raise InputError('only a picture is needed here: leave its text out')
    return item


class PictureReader:
    """Runs the picture part of a test pipeline on one picture.

    All kinds of input take the same way, so that a PIL picture and its file give
    the same pixels.

    Args:
        transforms: configs; the first decodes ``image_records``.
    """

    def __init__(self, transforms: list[dict]) -> None:
        self._load, *self._others = (TRANSFORMS.build(dict(step)) for step in transforms)

    def __call__(self, picture) -> ReadPicture:
        """
        Raises:
            InputError: the picture cannot be decoded, or is of no known kind.
        """
        record = _record(picture)
        results = dict(
            product_id='',
            text='',
            category=None,
            split='',
            image_records=[record],
            rng=np.random.default_rng(0),
        )
        try:
            results = self._load(results)
        except ImageDecodeError as error:
            where = record.get('path', 'the picture')
            reason = str(error).partition('cannot be decoded: ')[2] or str(error)
            raise InputError(f'{where} cannot be decoded: {reason}') from error
        loaded = results['images'][0]
        height, width = results['ori_shape']  # as stored
        if results['orientations'][0] >= 5:  # turned by a quarter
            height, width = width, height
        # this box tells where the other transforms move the picture
        results['boxes'] = [np.array([[0, 0, *loaded.size]], np.float32)]
        results['box_product_ids'] = [['']]
        for step in self._others:
            results = step(results)
        pixels = torch.from_numpy(np.array(results['images'][0])).permute(2, 0, 1)
        place = tuple(float(value) for value in results['boxes'][0][0])
        return ReadPicture(pixels.contiguous(), (width, height), place)


def _record(picture) -> dict:
    """The picture as an entry of ``image_records``."""
    if isinstance(picture, (str, Path)):
        if '://' in str(picture):
            raise InputError(f'{picture} is an address; fetch it and give the bytes or a path')
        return dict(path=str(picture))
    if isinstance(picture, bytes):
        return dict(bytes=picture)
    if isinstance(picture, np.ndarray):
        channels = picture.shape[2] if picture.ndim == 3 else 1
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or channels not in (1, 3, 4):
            raise InputError(
                'an array is uint8 of shape (H, W), (H, W, 3) for RGB or (H, W, 4) for RGBA, got '
                f'{picture.dtype} {picture.shape}'
            )
        if not picture.size:
            raise InputError(f'the array has no pixels: {picture.shape}')
        picture = picture[..., 0] if picture.ndim == 3 and channels == 1 else picture
        picture = Image.fromarray(picture)
    if not isinstance(picture, Image.Image):
        raise InputError(
            f'{type(picture).__name__} is no picture: give a path, bytes, a PIL picture or an '
            'array'
        )
    return dict(bytes=_stored(picture))


def _stored(picture: Image.Image) -> bytes:
    """A PIL picture as a file that gives the same pixels as its own."""
    file, exif = io.BytesIO(), Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # those of Pillow name no file
            picture.load()
            rgb = to_rgb(picture)
            exif[ORIENTATION] = read_orientation(picture)
    except Exception as error:  # decoders raise errors of any type
        raise InputError(f'the PIL picture cannot be read: {error}') from error
    rgb.save(file, 'PNG', compress_level=0, exif=exif)
    return file.getvalue()
