"""Seeds for independent streams of random numbers."""

import zlib


def derive_seed(*parts: int | str) -> int:
    """A 32-bit seed that depends on all parts and is the same in every process.

    torch's CPU generator uses only the low 32 bits of its seed, so sums and
    shifts of the parts would silently drop some of them.
    """
    return zlib.crc32('/'.join(map(str, parts)).encode())
