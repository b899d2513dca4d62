"""How a pretrained tower wants its pictures: mean, std and size of its own processor file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from transformers.utils import cached_file


@dataclass(frozen=True)
class Preprocessing:
    """What the processor file of a tower says.

    Attributes:
        source: the file, for messages.
        mean, std: per RGB channel, in 0..255.
        size: (h, w) of the pictures in pixels; None where the file leaves it
            open.
    """

    source: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None = None

    def to_dict(self) -> dict:
        """As the config of an image encoder takes it."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}


def read_preprocessing(pretrained: str, allow_download: bool = False) -> Preprocessing | None:
    """The preprocessing of a pretrained model; None where it has no file of it.

    Args:
        pretrained: folder, or name of a model in the local cache.
        allow_download: whether the file may be fetched from the hub.
    """
    for name in ('preprocessor_config.json', 'processor_config.json'):
        path = find_file(pretrained, name, allow_download)
        if path is None:
            continue
        fields = json.loads(path.read_text(encoding='utf-8'))
        fields = fields.get('image_processor', fields)
        if {'image_mean', 'image_std'} <= fields.keys() or not fields.get('do_normalize', True):
            return parse_preprocessing(fields, f'{pretrained}/{name}')
    return None


def find_file(pretrained: str, name: str, allow_download: bool = False) -> Path | None:
    """A file of a pretrained model, None where there is none on this machine."""
    if Path(pretrained).is_dir():
        path = Path(pretrained) / name
        return path if path.is_file() else None
    path = cached_file(
        pretrained,
        name,
        local_files_only=not allow_download,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return None if path is None else Path(path)


def parse_preprocessing(fields: dict, source: str) -> Preprocessing:
    """Mean, std and size from the fields of a processor."""
    scale = fields.get('rescale_factor', 1 / 255) if fields.get('do_rescale', True) else 1.0
    offset = 1.0 if fields.get('rescale_offset') else 0.0
    normalizes = fields.get('do_normalize', True)
    mean = fields['image_mean'] if normalizes else 0.0
    std = fields['image_std'] if normalizes else 1.0
    mean, std = (v if isinstance(v, list) else [v] * 3 for v in (mean, std))
    size = fields.get('size')
    if fields.get('do_center_crop') and fields.get('crop_size'):
        size = fields['crop_size']
    return Preprocessing(
        source=source,
        mean=tuple((value + offset) / scale for value in mean),
        std=tuple(value / scale for value in std),
        size=_sides(size) if fields.get('do_resize', True) else None,
    )


def _sides(size) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    if isinstance(size, dict) and {'height', 'width'} <= size.keys():
        return size['height'], size['width']
    if isinstance(size, dict) and 'shortest_edge' in size:
        return size['shortest_edge'], size['shortest_edge']
    return None
