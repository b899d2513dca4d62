"""Seeds for independent streams of random numbers."""

import zlib


def derive_seed(*parts: int | str) -> int:
    """A 32-bit seed that follows from all parts, the same in every process.

    torch's CPU generator uses the low 32 bits of its seed only: sums and
    shifts of parts would silently drop some of them.
    """
    return zlib.crc32('/'.join(map(str, parts)).encode())
