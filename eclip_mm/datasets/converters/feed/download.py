"""Downloading one picture, within limits."""

import io
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Collection
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import quote

from PIL import Image

from eclip_mm.datasets.converters.feed.addresses import RefusedAddressError, make_opener
from eclip_mm.datasets.converters.feed.deadlines import Deadline
from eclip_mm.datasets.storage.schema import CatalogueError

ENDINGS = {
    'JPEG': '.jpg', 'MPO': '.jpg', 'PNG': '.png', 'WEBP': '.webp', 'GIF': '.gif', 'BMP': '.bmp',
    'TIFF': '.tif', 'AVIF': '.avif',
}  # fmt: skip
_USER_AGENT = 'eclip_mm fetch_pictures (product pictures for training; one request a picture)'
_CHUNK = 2**16
# Answers that may be another one later.
_PASSING = (408, 425, 429, 500, 502, 503, 504)


@dataclass
class FetchOptions:
    """Limits of fetching.

    Attributes:
        num_workers: requests at a time.
        per_host: requests at a time to one host.
        delay: pause after each request, in seconds, for each of the requests to a host.
        timeout: longest wait for an answer, and for each further part of it, in seconds.
        max_seconds: longest time for a try, from the name of the host to the last byte.
        max_bytes: largest picture.
        tries: tries of a picture that fails for a reason that may pass.
        max_wait: longest pause before a further try, also where the server asks for more.
        allowed_hosts: hosts that may have addresses that are not public.
    """

    num_workers: int = 16
    per_host: int = 4
    delay: float = 0.0
    timeout: float = 20.0
    max_seconds: float = 60.0
    max_bytes: int = 20 * 2**20
    tries: int = 3
    max_wait: float = 30.0
    allowed_hosts: Collection[str] = ()

    def __post_init__(self) -> None:
        for name in ('num_workers', 'per_host', 'timeout', 'max_seconds', 'max_bytes', 'tries'):
            if getattr(self, name) <= 0:
                raise CatalogueError(f'{name} is {getattr(self, name)}; give more than 0')


class FetchError(Exception):
    """A picture cannot be fetched.

    Attributes:
        kind: kind of failure, for counting.
        passing: whether a further try may succeed.
        wait: seconds that the server asks to wait.
    """

    def __init__(self, kind: str, reason: str, passing: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.kind, self.passing, self.wait = kind, passing, wait


def download(url: str, options: FetchOptions) -> tuple[bytes, str]:
    """A picture and the ending of its file.

    Raises:
        FetchError: it cannot be fetched.
    """
    deadline = Deadline(options.timeout, options.max_seconds)
    full = f'https:{url}' if url.startswith('//') else url
    headers = {'User-Agent': _USER_AGENT, 'Accept': 'image/*', 'Accept-Encoding': 'identity'}
    # blanks and letters beyond ASCII as browsers send them; what is encoded stays as it is
    request = urllib.request.Request(quote(full, safe="%/:=&?~#+!$,;'@()*[]"), headers=headers)
    try:
        with make_opener(deadline, options.allowed_hosts).open(request) as answer:
            if answer.status != 200:
                raise FetchError('no picture', f'the server answers {answer.status}')
            length = answer.headers.get('Content-Length', '')
            _check_size(int(length) if length.isdecimal() else 0, options)
            kind = answer.headers.get_content_type()
            if not kind.startswith('image/') and kind not in (
                'application/octet-stream', 'binary/octet-stream', 'text/plain',
            ):  # fmt: skip
                raise FetchError('no picture', f'the server sends {kind}, not a picture')
            data = io.BytesIO()
            while chunk := answer.read1(_CHUNK):
                data.write(chunk)
                _check_size(data.tell(), options)
            if length.isdecimal() and data.tell() < int(length):
                raise FetchError(
                    'cut short', f'{data.tell()} of {length} bytes arrived', passing=True
                )
    except urllib.error.HTTPError as error:
        with error:
            passing = error.code in _PASSING
            after = error.headers.get('Retry-After', '')
            wait = float(after) if after.isdecimal() else 0.0
        raise FetchError(
            f'HTTP {error.code}', f'the server answers {error.code} {error.reason}', passing, wait
        ) from error
    except (OSError, HTTPException) as error:
        if deadline.is_over:
            reason = f'it takes longer than {options.max_seconds:g} s'
            raise FetchError('slow', reason, passing=True) from error
        is_wrapped = isinstance(error, urllib.error.URLError)
        raise _as_fetch_error(error.reason if is_wrapped else error) from error
    return data.getvalue(), _ending(data)


def _check_size(num_bytes: int, options: FetchOptions) -> None:
    if num_bytes > options.max_bytes:
        raise FetchError('too large', f'it has more than {options.max_bytes} bytes')


def _as_fetch_error(reason) -> FetchError:
    if isinstance(reason, RefusedAddressError):
        return FetchError('private address', str(reason))
    if isinstance(reason, socket.gaierror):
        passing = reason.errno == socket.EAI_AGAIN
        return FetchError('unknown host', f'its host cannot be found ({reason})', passing)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return FetchError('certificate', f'its certificate is not accepted ({reason})')
    if isinstance(reason, (OSError, HTTPException)):
        return FetchError('no connection', str(reason) or type(reason).__name__, passing=True)
    return FetchError('no connection', str(reason))


def _ending(data: io.BytesIO) -> str:
    """Ending for a picture, by its content: servers are often wrong about it."""
    data.seek(0)
    try:
        with Image.open(data) as image:
            found = image.format
    except Exception as error:  # whatever a decoder raises, it is no picture
        raise FetchError('no picture', 'what the server sends is not a picture') from error
    if found not in ENDINGS:
        raise FetchError('no picture', f'it is {found}, which is not one of {", ".join(ENDINGS)}')
    return ENDINGS[found]
