"""What the features of a folder are of."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

CARD = 'cache.json'


class CacheError(RuntimeError):
    """A feature cache that cannot be used as asked; the message says why and what to do."""


@dataclass(frozen=True)
class FeatureCard:
    """What all features of a folder have in common.

    Attributes:
        weights: sha256 of the frozen weights, of the architecture and of mean and
            standard deviation.
        boundary: name of the last frozen layer group, or ``all``.
        picture_size: (height, width) of the pictures.
        shape: of the features of a picture.
        precision: ``float32`` or ``bfloat16``, in which they were computed.
    """

    weights: str
    boundary: str
    picture_size: tuple[int, int]
    shape: tuple[int, ...]
    precision: str = 'float32'

    @property
    def num_bytes(self) -> int:
        """Bytes of one picture's features in float16."""
        return 2 * int(np.prod(self.shape))

    def check(self, other: 'FeatureCard', folder: str | Path) -> None:
        """Compare the card of a folder with what is wanted.

        Raises:
            CacheError: they differ. It names all differences.
        """
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        if odd := [f'{n} is {a!r}, wanted is {b!r}' for n, a, b in pairs if a != b]:
            raise CacheError(
                f'{Path(folder) / CARD}: the features are not of this model: {"; ".join(odd)}. '
                'Make them again in another folder: python tools/cache_features.py CONFIG, with '
                '--checkpoint FILE where the weights of the tower come from a checkpoint'
            )


def read_card(folder: str | Path) -> FeatureCard:
    """The card of a folder.

    Raises:
        CacheError: there is none, or it cannot be read.
    """
    path = Path(folder) / CARD
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        content = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        return FeatureCard(**content)
    except FileNotFoundError:
        raise CacheError(
            f'{path}: there is no feature cache; make it: python tools/cache_features.py CONFIG'
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise CacheError(f'{path} is not the card of a feature cache: {error}') from error
