"""Negative prompts that depend on the picture: what else of the catalogue it may show."""

import weakref
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from eclip_mm.models.decoders.instance_queries import scale_prompts
from eclip_mm.models.decoders.negative_queries import NegativeQueries
from eclip_mm.registry import MODELS

#: Similarities, or components of tokens, that are in memory at a time: 64 MiB in float32.
MAX_ELEMENTS = 2**24
#: Names of a tile; larger tiles are not faster.
MAX_NAMES = 4096
#: How many more names than wanted are compared exactly.
MARGIN = 16
# Components of unit vectors are rounded to multiples of 2^-26. Sums of their products are then
# exact in float64, in any order: a similarity depends on nothing but its token and its name.
_GRID = 2.0**26


@MODELS.register_module()
class CatalogueNegatives(NegativeQueries):
    """The T - 1 names of the catalogue that are most similar to the picture.

    A name is as similar to a picture as to the most similar of its patch
    tokens. The T best names are found once for each picture and serve all its
    prompts. A prompt leaves out its own name: that of all names which is most
    similar to the prompt. For the text of a product of the catalogue this is
    its name; for an image prompt, the name that it looks most like. If it is
    not among the T best, the last of these is left out instead.

    These negatives name what else is in the picture, so that the softmax over
    the queries gives other products to them. The ``product_id`` of a picture
    is not used.

    Before it gives prompts, :func:`~eclip_mm.apis.prepare_negatives` encodes
    the names with the model's text tower. Validation, tests, sheets and
    embedding call it. A training step makes the names out of date and removes
    them, and so does loading weights. Checkpoints do not contain them.

    Args:
        embed_dims: joint width D.
        seed: unused, as there is no draw.
        num_queries: T, which may be larger than in training; None for that of
            the training. A catalogue of fewer names gives all of them.
        catalogue: path or paths of the catalogues whose texts are the names;
            None for those of the data that is evaluated or embedded.
        max_elements: number of similarities that are in memory at a time.

    Attributes:
        names: (N, D) float32 L2-normalised features of N different names; None
            before they are set.
        origin: what the names were made from; None before they are set.
    """

    takes_names = True

    def __init__(
        self,
        embed_dims: int = 512,
        seed: int = 0,
        num_queries: int | None = None,
        catalogue: str | Path | Sequence[str | Path] | None = None,
        max_elements: int = MAX_ELEMENTS,
    ):
        super().__init__(embed_dims, seed)
        if num_queries is not None and num_queries < 2:
            raise ValueError(f'negative_queries.num_queries is at least 2, got {num_queries}')
        self.num_queries = num_queries
        self.catalogue = catalogue
        self.max_elements = max_elements
        self.register_buffer('names', None, persistent=False)
        self.origin = None
        self._latest = None

    def set_names(self, feats: Tensor, origin: object = None) -> None:
        """Take the names of a catalogue.

        Args:
            feats: (N, D) text features of different names, in the order of the
                catalogue, on the model's device.
            origin: what they were made from.

        Raises:
            ValueError: there are fewer than two names, or they have another
                width.
        """
        if feats.ndim != 2 or len(feats) < 2 or feats.shape[1] != self.embed_dims:
            raise ValueError(
                'CatalogueNegatives needs (N, D) features of at least two different names with '
                f'D = {self.embed_dims}, got {tuple(feats.shape)}; set negative_queries.catalogue '
                'to a catalogue of several products'
            )
        self.names, self.origin = F.normalize(feats.float(), dim=-1), origin
        self._latest = None

    def forget(self):
        self.names = self.origin = self._latest = None

    def observe(self, text_feats, id_hash):
        self.forget()  # the step has changed the text tower

    def forward(self, num_negatives, patch_tokens, prompt_feats):
        if self.names is None:
            raise RuntimeError(
                'CatalogueNegatives has no names, or a training step has made them out of date: '
                'call eclip_mm.apis.prepare_negatives(model, dataset) first. ProductValLoop and '
                'ProductTestLoop do so before each evaluation'
            )
        found = self._find(patch_tokens, self.num_queries or num_negatives + 1)
        own = most_similar(prompt_feats[:, None], self.names, 1, self.max_elements)
        # a stable sort moves the own name to the end, if it is there; the last one is left out
        order = (found == own).byte().argsort(dim=1, stable=True)
        found = found.expand_as(order).gather(1, order)[:, :-1]  # of one picture: for all prompts
        return scale_prompts(self.names[found]).to(prompt_feats)

    def _find(self, patch_tokens: Tensor, num_queries: int) -> Tensor:
        """The best names of each picture, (B, T); those of the latest pictures are kept."""
        tokens, found = self._latest or (lambda: None, None)
        if tokens() is not patch_tokens:
            found = most_similar(patch_tokens, self.names, num_queries, self.max_elements)
            self._latest = weakref.ref(patch_tokens), found
        return found

    def _load_from_state_dict(self, *args):
        self.forget()
        super()._load_from_state_dict(*args)

    def __getstate__(self):
        return dict(self.__dict__, _latest=None)  # a weak reference cannot be pickled


def most_similar(
    tokens: Tensor, names: Tensor, num_names: int, max_elements: int = MAX_ELEMENTS
) -> Tensor:
    """The names that are most similar to any token of a picture, by cosine.

    There is never a matrix of all tokens and all names. A product in float32
    finds a few more names than are wanted. Exact similarities of these decide
    the order, so that a result depends neither on the tiles nor on the other
    pictures, and equal names always have the same order.

    Args:
        tokens: (B, N, D), any length.
        names: (M, D) float32, L2-normalised.
        num_names: how many are wanted.
        max_elements: number of similarities in memory at a time, at least
            those of the tokens of one picture with one name.

    Returns:
        (B, min(num_names, M)) int64 indices of names, most similar first;
        equal ones in the order of the names.
    """
    _, num_tokens, dims = tokens.shape
    num_names = min(num_names, len(names))
    tile = max(1, min(len(names), MAX_NAMES, max_elements // num_tokens))
    num_pictures = max(1, max_elements // (num_tokens * max(tile, dims)))
    with torch.autocast(tokens.device.type, enabled=False):
        parts = tokens.split(num_pictures)
        return torch.cat([_search(part.float(), names, num_names, tile) for part in parts])


def _search(tokens: Tensor, names: Tensor, num_names: int, tile: int) -> Tensor:
    """:func:`most_similar` for the pictures of one part, one tile of names after the other."""
    num_pictures, num_tokens, _ = tokens.shape
    tokens = F.normalize(tokens, dim=-1)
    best = tokens.new_empty(num_pictures, 0)
    found = torch.empty(num_pictures, 0, dtype=torch.int64, device=tokens.device)
    for start, part in zip(range(0, len(names), tile), names.split(tile), strict=True):
        scores = (tokens.flatten(0, 1) @ part.T).view(num_pictures, num_tokens, -1).amax(dim=1)
        places = torch.arange(start, start + len(part), device=found.device)
        best = torch.cat([best, scores], dim=1)
        found = torch.cat([found, places.expand(num_pictures, -1)], dim=1)
        best, order = best.sort(dim=1, descending=True, stable=True)
        kept = num_names + MARGIN
        best, found = best[:, :kept], found.gather(1, order[:, :kept])
    found = found.sort(dim=1).values
    scores = _exact_similarity(tokens, names[found])
    order = scores.sort(dim=1, descending=True, stable=True).indices[:, :num_names]
    return found.gather(1, order)


def _exact_similarity(tokens: Tensor, names: Tensor) -> Tensor:
    """Similarity of pictures (B, N, D) and some names for each, (B, K, D): (B, K) float64."""
    tokens, names = (
        (F.normalize(feats.double(), dim=-1) * _GRID).round() for feats in (tokens, names)
    )
    return (tokens @ names.transpose(1, 2)).amax(dim=1) / _GRID**2
