"""What a file is that Pillow cannot open, and what to do about it."""

import re

#: Bytes from the beginning of a file that suffice to recognise it.
HEAD_BYTES = 4096

_DAMAGED = 'it begins like a {}, but is damaged or of a kind that Pillow cannot read'
_NO_PICTURE = 'it is not a picture but {}'
_INSTALL = 'it is {}, which needs another package: pip install {}'

# (pattern at the beginning of the file, what the file is)
_KINDS = (
    (rb'....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)', _INSTALL.format('HEIC', 'pillow-heif')),
    (rb'....ftypavi[fs]', _INSTALL.format('AVIF', "'pillow>=11.3'")),
    (rb'\xff\x0a|\x00\x00\x00\x0cJXL ', _INSTALL.format('JPEG XL', 'pillow-jxl-plugin')),
    (rb'....ftyp|\x1a\x45\xdf\xa3', 'it is a video; store frames of it as JPEG'),
    (
        rb'\s*(<\?xml[^<]*|<!--.*?-->\s*|<!doctype svg[^<]*)*<(\w+:)?svg\b',
        'it is SVG, a drawing without pixels; store it as PNG, e.g. with `rsvg-convert`',
    ),
    (rb'\s*<(!doctype html|html|head|body|title)', _NO_PICTURE.format('an HTML page')),
    (rb'\s*<\?xml|\s*<error>', _NO_PICTURE.format('an XML document, perhaps a server error')),
    (rb'\s*[{\[]\s*("|\]|\}|\{)', _NO_PICTURE.format('JSON')),
    (rb'\x00\x00\x00\x01Bud1', _NO_PICTURE.format('a .DS_Store file of macOS')),
    (rb'version https://git-lfs', 'it is a Git LFS pointer; run `git lfs pull`'),
    (rb'%PDF', _NO_PICTURE.format('a PDF document; store its pages as JPEG')),
    (rb'PK\x03\x04|\x1f\x8b', _NO_PICTURE.format('an archive; unpack it')),
    (rb'\xff\xd8\xff', _DAMAGED.format('JPEG')),
    (rb'\x89PNG', _DAMAGED.format('PNG')),
    (rb'GIF8', _DAMAGED.format('GIF')),
    (rb'RIFF....WEBP', _DAMAGED.format('WebP')),
    (rb'II[*+]\x00|MM\x00[*+]', _DAMAGED.format('TIFF')),
    (rb'BM', _DAMAGED.format('BMP')),
    (rb'\x00+$', _NO_PICTURE.format('zeros, as of a disk that was full')),
)


def describe_file(head: bytes) -> str:
    """What a file is that Pillow cannot open.

    Args:
        head: its beginning, up to ``HEAD_BYTES``.
    """
    if not head:
        return 'it is empty (0 bytes)'
    head = head.removeprefix(b'\xef\xbb\xbf')  # a byte order mark
    for pattern, meaning in _KINDS:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return meaning
    return 'it is not a picture of a known format'
