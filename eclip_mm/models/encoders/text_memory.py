"""Features of texts that a frozen text tower has seen before."""

from collections.abc import Callable

import torch
from torch import Tensor


class TextMemory:
    """Keeps what a frozen tower gives of a text, so that each text is encoded once.

    A copy of a model shares the memory, as it shares the frozen tower. What was computed in
    another precision or on another device counts as another text.

    Args:
        size: largest number of texts; further ones are encoded each time.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._feats: dict[tuple, Tensor] = {}

    def __deepcopy__(self, _) -> 'TextMemory':
        return self

    def __call__(
        self,
        encode: Callable[[Tensor, Tensor], Tensor],
        input_ids: Tensor,
        attention_mask: Tensor,
    ) -> Tensor:
        """``encode(input_ids, attention_mask)`` (B, C), computed for new texts alone."""
        ids = input_ids.masked_fill(attention_mask == 0, -1).cpu().numpy()
        device = input_ids.device
        precision = None
        if torch.is_autocast_enabled(device.type):
            precision = torch.get_autocast_dtype(device.type)
        keys = [(row[row >= 0].tobytes(), precision, device) for row in ids]
        new = {key: row for row, key in enumerate(keys) if key not in self._feats}
        fresh: dict[tuple, Tensor] = {}
        if new:
            rows = torch.tensor(list(new.values()), device=device)
            feats = encode(input_ids[rows], attention_mask[rows]).clone()
            fresh = dict(zip(new, feats, strict=True))
            room = max(0, self.size - len(self._feats))
            self._feats.update(list(fresh.items())[:room])
        return torch.stack([fresh[key] if key in fresh else self._feats[key] for key in keys])

    def forget(self) -> None:
        """Forget all texts, for weights that have changed."""
        self._feats.clear()
