"""What one request may ask for, and how much the service does at a time."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from PIL import Image


class Refused(Exception):
    """A request that is refused.

    Args:
        status: status of the answer.
        reason: one sentence for who sent the request.
        retry_after: seconds after which another try makes sense; None for never.
    """

    def __init__(self, status: int, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_after = status, reason, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {} if self.retry_after is None else {'Retry-After': str(self.retry_after)}


@dataclass(frozen=True)
class Limits:
    """Limits of a service; memory is bounded by ``requests`` times ``num_bytes`` and one batch.

    Attributes:
        num_bytes: largest body of a request.
        num_pixels: largest picture, checked before it is decoded.
        inputs: largest number of inputs of a request.
        names: largest number of names of a request.
        chars: longest text or name.
        hits: largest number of hits of a search.
        seconds: time until the answer, and time to receive the body.
        requests: number of requests that may be received, wait or run at the same time.
        batch: number of inputs that the model takes at a time.
        wait: longest time that an input waits for others to fill a batch, in seconds; it waits
            only while other requests are under way.

    Raises:
        ValueError: a limit is not positive.
    """

    num_bytes: int = 10_000_000
    num_pixels: int = 25_000_000
    inputs: int = 32
    names: int = 200
    chars: int = 1000
    hits: int = 100
    seconds: float = 30
    requests: int = 64
    batch: int = 32
    wait: float = 0.005

    @classmethod
    def of_device(cls, device: str | torch.device, **given) -> 'Limits':
        """The defaults on a device: on CPUs, which gain little from large batches, 16 inputs."""
        on_cpu = torch.device(device).type == 'cpu'
        return cls(**{**(dict(batch=16) if on_cpu else {}), **given})

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value == 0 and field.name != 'wait'):
                raise ValueError(f'limit {field.name} is above 0, got {value}')

    def check_count(self, what: str, number: int, largest: int) -> None:
        """
        Raises:
            Refused: there are more than ``largest``.
        """
        if number > largest:
            raise Refused(422, f'A request has at most {largest} {what}, got {number}.')

    def check_texts(self, texts: Sequence[str]) -> None:
        """
        Raises:
            Refused: a text is too long.
        """
        for number, text in enumerate(texts, 1):
            if len(text) > self.chars:
                raise Refused(
                    422, f'Text {number} has {len(text)} characters, at most {self.chars} go.'
                )

    def check_picture(self, file: bytes, number: int = 1) -> None:
        """Refuse a picture by the size that its header gives; others are left to the decoder.

        Raises:
            Refused: it has too many pixels.
        """
        try:
            with Image.open(io.BytesIO(file)) as picture:
                width, height = picture.size
        except Image.DecompressionBombError as error:
            raise Refused(413, f'Picture {number} has too many pixels.') from error
        except Exception:  # header readers raise errors of any type
            return
        if width * height > self.num_pixels:
            raise Refused(
                413,
                f'Picture {number} has {width} x {height} pixels, at most {self.num_pixels} go; '
                'send a smaller one.',
            )
