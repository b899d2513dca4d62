"""Decoding of a sample's pictures."""

import ctypes
import io
import logging
import warnings
from contextlib import suppress
from importlib import import_module

import numpy as np
from PIL import Image, UnidentifiedImageError

from eclip_mm.datasets.transforms.file_kinds import HEAD_BYTES, describe_file
from eclip_mm.datasets.transforms.greys import is_deep_grey, to_eight_bits
from eclip_mm.datasets.transforms.orientation import (
    TRANSPOSITIONS,
    read_orientation,
    turn_boxes,
    turn_size,
)
from eclip_mm.registry import TRANSFORMS

# Formats that Pillow reads with another package; the second one registers itself.
with suppress(ImportError):
    import_module('pillow_heif').register_heif_opener()
with suppress(ImportError):
    import_module('pillow_jxl')
# What Pillow logs names no file, and what matters of it is raised as well. Without a handler,
# Python would print it.
logging.getLogger('PIL').addHandler(logging.NullHandler())
with suppress(AttributeError, OSError):  # libtiff itself prints to standard error
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)

# Formats of which Pillow can decode a reduced picture.
_DRAFTED = ('JPEG', 'MPO')
# Modes whose colours are multiplied by their alpha -> those without that.
_MULTIPLIED = {'La': 'LA', 'RGBa': 'RGBA'}


class ImageDecodeError(RuntimeError):
    """A picture cannot be decoded. The message names its file, product and picture id.

    Attributes:
        image_index: index of the picture among the sample's ``image_records``.
        reason: what is wrong with the file, without a name of it; else the message.
    """

    def __init__(self, message: str, image_index: int = 0, reason: str | None = None) -> None:
        super().__init__(message)
        self.image_index = image_index
        self.reason = message if reason is None else reason

    def __reduce__(self):
        # Pickling out of a DataLoader worker would otherwise lose the attribute.
        return type(self), (str(self), self.image_index, self.reason)


@TRANSFORMS.register_module()
class LoadProductImages:
    """Decode ``image_records`` to RGB pictures with boxes.

    Transparent pictures get a white background; greys of more than eight bits are reduced as in
    :func:`~eclip_mm.datasets.transforms.greys.to_eight_bits`. The EXIF orientation is applied to
    pictures and boxes: the boxes of a catalogue are in pixels of the stored picture, those of a
    loaded one in pixels of the picture as seen.

    Reads ``image_records``. Adds ``images`` (list of V PIL RGB images),
    ``boxes`` (list of V float32 arrays (K, 4), xyxy in pixels of the loaded
    picture), ``box_product_ids`` (list of V lists of K str), ``orientations`` (list of V
    ints from 1 to 8), and ``ori_shape`` ((height, width) of the first picture as stored).

    Args:
        draft_size: smallest side, in pixels, down to which the JPEG decoder may
            reduce a picture by 2, 4 or 8, which is several times faster for
            large photos. Boxes are scaled with the picture. None decodes the
            full size.
        max_pixels: largest number of pixels of a picture. Larger ones are
            refused before they are decoded (decompression bombs).

    Raises:
        ImageDecodeError: a picture is missing, broken or too large.
    """

    def __init__(self, draft_size: int | None = None, max_pixels: int = 89_478_485) -> None:
        self.draft_size = draft_size
        self.max_pixels = max_pixels

    def __call__(self, results: dict) -> dict:
        images, boxes, box_product_ids, orientations, shapes = [], [], [], [], []
        for i, record in enumerate(results['image_records']):
            try:
                image, xyxy, orientation, stored_size = self._load(record, results)
            except Exception as error:  # decoders raise errors of any type
                where = record.get('path', 'bytes in the catalogue')
                reason = _reason(error, record)
                raise ImageDecodeError(
                    f"picture '{record.get('image_id', i)}' of product "
                    f"'{results.get('product_id', '?')}' ({where}) cannot be decoded: "
                    f'{reason}',
                    image_index=i,
                    reason=reason,
                ) from error
            images.append(image)
            boxes.append(xyxy)
            box_product_ids.append([box['product_id'] for box in record.get('boxes') or ()])
            orientations.append(orientation)
            shapes.append((stored_size[1], stored_size[0]))
        results.update(
            images=images,
            boxes=boxes,
            box_product_ids=box_product_ids,
            orientations=orientations,
            ori_shape=shapes[0],
        )
        return results

    def _load(
        self, record: dict, results: dict
    ) -> tuple[Image.Image, np.ndarray, int, tuple[int, int]]:
        source = _source(record)
        xyxy = np.array([box['bbox'] for box in record.get('boxes') or ()], dtype=np.float32)
        xyxy = xyxy.reshape(-1, 4)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # those of Pillow name no file
            with _open_image(source, self.max_pixels) as image:
                if image.format == 'PNG':
                    image.load()  # its EXIF may stand behind the pixels
                elif image.format == 'TIFF':
                    _check_strips(image)
                orientation = read_orientation(image)
                if image.format not in _DRAFTED:
                    image.load()
                # Pillow has turned a TIFF by now, and says so by removing the orientation.
                remaining = read_orientation(image)
                seen_size = turn_size(image.size, remaining)
                self._draft(image, seen_size, results)
                rgb = to_rgb(image)
        if remaining in TRANSPOSITIONS:
            rgb = rgb.transpose(TRANSPOSITIONS[remaining])
        stored_size = turn_size(seen_size, orientation)
        xyxy = turn_boxes(xyxy, orientation, stored_size)
        xyxy *= np.array(
            [rgb.width / seen_size[0], rgb.height / seen_size[1]] * 2, dtype=np.float32
        )
        return rgb, xyxy, orientation, stored_size

    def _draft(self, image: Image.Image, seen_size: tuple[int, int], results: dict) -> None:
        """Choose the scale at which a JPEG is decoded, after its header has been read."""
        if self.draft_size is not None:
            image.draft('RGB', (self.draft_size, self.draft_size))

    def __repr__(self) -> str:
        return f'{type(self).__name__}(draft_size={self.draft_size}, max_pixels={self.max_pixels})'


def as_pil(image: Image.Image | np.ndarray) -> Image.Image:
    """The picture as a PIL image; ``LoadCroppedImages`` makes arrays."""
    return image if isinstance(image, Image.Image) else Image.fromarray(image)


def _source(record: dict) -> str | io.BytesIO:
    if 'bytes' in record:
        return io.BytesIO(record['bytes'])
    if 'path' in record:
        return record['path']
    raise ValueError('it has neither path nor bytes')


def _open_image(source, max_pixels: int) -> Image.Image:
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # our limit replaces PIL's
    try:
        image = Image.open(source)
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    if image.width * image.height > max_pixels:
        size = f'{image.width} x {image.height}'
        image.close()
        raise ValueError(
            f'it has {size} pixels, more than {max_pixels}; store it smaller, or '
            'raise `max_pixels` of the loading transform'
        )
    return image


def _check_strips(image: Image.Image) -> None:
    """Pillow leaves black what no strip or tile of a TIFF covers."""
    covered = [tile[1] for tile in image.tile] or [(0, 0, 0, 0)]
    width, height = (image.tag_v2[tag] for tag in (256, 257))
    if max(box[2] for box in covered) < width or max(box[3] for box in covered) < height:
        raise OSError(f'it has too few strips for {width} x {height} pixels; it is damaged')


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode in RGB, as stored, on white where it is transparent."""
    if is_deep_grey(image):
        return to_eight_bits(image).convert('RGB')
    if image.mode in _MULTIPLIED:
        image = image.convert(_MULTIPLIED[image.mode])
    if image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info:
        image = image.convert('RGBA')
        white = Image.new('RGBA', image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert('RGB')
    if image.mode == 'RGB':  # `convert` would copy it
        image.load()
        return image
    return image.convert('RGB')


def _reason(error: Exception, record: dict) -> str:
    if isinstance(error, UnidentifiedImageError):
        with _binary(_source(record)) as file:
            return describe_file(file.read(HEAD_BYTES))
    if isinstance(error, FileNotFoundError):
        return 'there is no such file'
    if isinstance(error, IsADirectoryError):
        return 'it is a folder; give the path of a picture'
    if isinstance(error, PermissionError):
        return 'the file must not be read; check its permissions'
    # The texts of unusual errors say little without their type: "KeyError: 42".
    usual = isinstance(error, (OSError, ValueError, SyntaxError))
    return str(error) if usual and str(error) else f'{type(error).__name__}: {error}'


def _binary(source: str | io.BytesIO):
    return source if isinstance(source, io.BytesIO) else open(source, 'rb')
