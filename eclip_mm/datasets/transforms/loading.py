"""Decoding of a sample's pictures."""

import io
import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

from eclip_mm.registry import TRANSFORMS

_EXIF_ORIENTATION = 0x0112


class ImageDecodeError(RuntimeError):
    """A picture cannot be decoded. The message names its file, product and picture id.

    Attributes:
        image_index: index of the picture among the sample's ``image_records``.
    """

    def __init__(self, message: str, image_index: int = 0) -> None:
        super().__init__(message)
        self.image_index = image_index

    def __reduce__(self):
        # Pickling out of a DataLoader worker would otherwise lose the attribute.
        return type(self), (str(self), self.image_index)


@TRANSFORMS.register_module()
class LoadProductImages:
    """Decode ``image_records`` to RGB pictures with boxes.

    Transparent pictures get a white background. The EXIF orientation is applied
    to pictures and boxes.

    Reads ``image_records``. Adds ``images`` (list of V PIL RGB images),
    ``boxes`` (list of V float32 arrays (K, 4), xyxy in pixels of the loaded
    picture), ``box_product_ids`` (list of V lists of K str), and ``ori_shape``
    ((height, width) of the first picture as stored).

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
        images, boxes, box_product_ids, shapes = [], [], [], []
        for i, record in enumerate(results['image_records']):
            try:
                image, stored_size, xyxy = self._load(record, results)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                # PIL raises SyntaxError for broken PNG chunks.
                where = record.get('path', 'bytes in the catalogue')
                raise ImageDecodeError(
                    f"picture '{record.get('image_id', i)}' of product "
                    f"'{results.get('product_id', '?')}' ({where}) cannot be decoded: "
                    f'{_reason(error)}',
                    image_index=i,
                ) from error
            images.append(image)
            boxes.append(xyxy)
            box_product_ids.append([box['product_id'] for box in record.get('boxes') or ()])
            shapes.append((stored_size[1], stored_size[0]))
        results.update(
            images=images, boxes=boxes, box_product_ids=box_product_ids, ori_shape=shapes[0]
        )
        return results

    def _load(
        self, record: dict, results: dict
    ) -> tuple[Image.Image, tuple[int, int], np.ndarray]:
        if 'bytes' in record:
            source = io.BytesIO(record['bytes'])
        elif 'path' in record:
            source = record['path']
        else:
            raise ValueError('it has neither path nor bytes')
        xyxy = np.array([box['bbox'] for box in record.get('boxes') or ()], dtype=np.float32)
        xyxy = xyxy.reshape(-1, 4)
        with _open_image(source, self.max_pixels) as image:
            stored_size = image.size
            orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
            self._draft(image, orientation, results)
            rgb = _to_rgb(image)
        xyxy *= np.array(
            [rgb.width / stored_size[0], rgb.height / stored_size[1]] * 2, dtype=np.float32
        )
        if orientation in _TRANSPOSITIONS:
            xyxy = _orient_boxes(xyxy, orientation, *rgb.size)
            rgb = rgb.transpose(_TRANSPOSITIONS[orientation])
        return rgb, stored_size, xyxy

    def _draft(self, image: Image.Image, orientation: int, results: dict) -> None:
        """Choose the scale at which a picture is decoded, after its header has been read."""
        if self.draft_size is not None:
            image.draft('RGB', (self.draft_size, self.draft_size))

    def __repr__(self) -> str:
        return f'{type(self).__name__}(draft_size={self.draft_size}, max_pixels={self.max_pixels})'


def as_pil(image: Image.Image | np.ndarray) -> Image.Image:
    """The picture as a PIL image; ``LoadCroppedImages`` makes arrays."""
    return image if isinstance(image, Image.Image) else Image.fromarray(image)


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


def _to_rgb(image: Image.Image) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # on palette transparency, handled here
        if image.mode in ('RGBA', 'LA', 'PA', 'La', 'RGBa') or 'transparency' in image.info:
            image = image.convert('RGBA')
            white = Image.new('RGBA', image.size, (255, 255, 255, 255))
            return Image.alpha_composite(white, image).convert('RGB')
    if image.mode.startswith('I'):  # 16 bits per pixel, which PIL would clip at 255
        high = np.asarray(image).astype(np.int64)
        return Image.fromarray((high >> 8).clip(0, 255).astype(np.uint8)).convert('RGB')
    if image.mode == 'RGB':  # `convert` would copy it
        image.load()
        return image
    return image.convert('RGB')


_T = Image.Transpose
_TRANSPOSITIONS = {
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_270,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_90,
}


def _orient_boxes(xyxy: np.ndarray, orientation: int, width: int, height: int) -> np.ndarray:
    """Boxes after the transposition of an EXIF orientation; width and height are before it."""
    x1, y1, x2, y2 = xyxy.T
    left, right, top, bottom = width - x2, width - x1, height - y2, height - y1
    columns = {
        2: (left, y1, right, y2),
        3: (left, top, right, bottom),
        4: (x1, top, x2, bottom),
        5: (y1, x1, y2, x2),
        6: (top, x1, bottom, x2),
        7: (top, left, bottom, right),
        8: (y1, left, y2, right),
    }[orientation]
    return np.stack(columns, axis=1)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return 'it is not a picture of a known format'
    if isinstance(error, FileNotFoundError):
        return 'there is no such file'
    return str(error)
