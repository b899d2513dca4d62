"""Product identities as integers that processes can exchange."""

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor


def hash_product_ids(product_ids: Sequence[str]) -> Tensor:
    """(B,) int64 on the CPU, equal for equal product_ids, the same in every process."""
    ids = [i.encode() for i in product_ids]
    return torch.tensor([zlib.crc32(i) << 31 ^ zlib.adler32(i) for i in ids])
