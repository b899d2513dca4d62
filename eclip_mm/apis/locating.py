"""Where named products are in a picture: prompts, negative queries, maps and boxes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.apis.box_shape import BoxShape
from eclip_mm.apis.input_pictures import ReadPicture
from eclip_mm.evaluation.functional import (
    ALPHA,
    pairwise_iou,
    score_boxes,
    upsample_score_map,
)
from eclip_mm.evaluation.proposals import ScoreMapProposer
from eclip_mm.models.decoders import TEXT, CatalogueNegatives, scale_prompts
from eclip_mm.models.score_map import assignment_score_map, similarity_score_map

#: side of a token in the map that boxes are cut from, in pixels of that map
TOKEN_SIDE = 8
#: a box that overlaps a better one of the same name by more is left out
MAX_IOU = 0.5


class NegativeNames:
    """The negative queries of names that are looked for in one picture.

    They are the other names of a list, chosen by the picture as
    :class:`~eclip_mm.models.decoders.CatalogueNegatives` does: the T - 1 that are most similar to
    it without the name itself. Where the list is shorter, the model's own source adds what is
    missing. Of its prompts, those that are most similar to a name of the list, one for each name,
    are not taken, since they may be the same names.

    Args:
        model: an ``ECLIP`` with a decoder.
        feats: (K, D) text features of different names; None for the model's own source alone.
    """

    def __init__(self, model: nn.Module, feats: Tensor | None) -> None:
        self.model = model
        self.num_queries = model.network.queries.num_queries
        self.feats = feats
        self.names = None
        if feats is not None and len(feats) > 1:
            self.names = CatalogueNegatives(model.network.embed_dims)
            self.names.set_names(feats)

    def __call__(self, patch_tokens: Tensor, prompt_feats: Tensor) -> Tensor:
        """
        Args:
            patch_tokens: (1, N, D) of one picture.
            prompt_feats: (B, D) features of the names that are looked for.

        Returns:
            (B, T - 1, D) scaled prompts; fewer where all sources give fewer.
        """
        wanted = self.num_queries - 1
        given = prompt_feats.new_empty(len(prompt_feats), 0, prompt_feats.shape[1])
        if self.names is not None:
            given = self.names(wanted, patch_tokens, prompt_feats)
        missing = wanted - given.shape[1]
        source = self.model.negative_queries
        if missing == 0 or lacks_names(source):
            return given
        if self.feats is None:
            return source(wanted, patch_tokens, prompt_feats)
        own = source(self.num_queries, patch_tokens, prompt_feats)
        similarity = (F.normalize(own, dim=-1) @ self.feats.T).amax(dim=2)
        kept = similarity.argsort(dim=1, stable=True)[:, :missing].sort(dim=1).values
        own = own.gather(1, kept[..., None].expand(-1, -1, own.shape[2]))
        return torch.cat([given, own], dim=1)


def lacks_names(source: nn.Module) -> bool:
    """Whether negative queries would be names of a catalogue, which nobody has given."""
    return source.in_use.takes_names and source.in_use.names is None


def find_names(
    model: nn.Module,
    patch_tokens: Tensor,
    grid: tuple[int, int],
    prompt_feats: Tensor,
    negatives: NegativeNames | None,
    batch_size: int,
) -> Iterator[tuple[np.ndarray, float]]:
    """Look for each name in one picture.

    Args:
        model: an ``ECLIP``.
        patch_tokens: (1, N, D) of the picture.
        grid: (h, w).
        prompt_feats: (K, D) text features.
        negatives: None for a model without decoder.
        batch_size: number of names at a time.

    Yields:
        Score map (h, w), and the cosine of the name and what was found: its
        instance vector, or without a decoder its most similar token.
    """
    for prompts in prompt_feats.split(batch_size):
        found = decode_names(model, patch_tokens, grid, prompts, negatives)
        if found.feats is None:
            tokens = F.normalize(patch_tokens[0].float(), dim=-1)
            similarity = (tokens @ prompts.float().T).amax(dim=0)
        else:
            similarity = (found.feats * prompts).sum(dim=1)
        yield from zip(found.maps.cpu().numpy(), similarity.tolist(), strict=True)


class FoundNames(NamedTuple):
    """Names in a picture.

    Attributes:
        maps: (K, h, w) float32 score maps.
        feats: (K, D) L2-normalised instance vectors; None without a decoder.
    """

    maps: Tensor
    feats: Tensor | None


def decode_names(
    model: nn.Module,
    patch_tokens: Tensor,
    grid: tuple[int, int],
    prompts: Tensor,
    negatives: NegativeNames | None,
) -> FoundNames:
    """Look for some names in one picture at once.

    Args:
        model, patch_tokens, grid, negatives: see :func:`find_names`.
        prompts: (K, D) text features.
    """
    tokens = patch_tokens.expand(len(prompts), -1, -1)
    if negatives is None:
        return FoundNames(similarity_score_map(tokens, prompts, grid).float(), None)
    others = negatives(patch_tokens, prompts)
    queries = torch.cat([scale_prompts(prompts)[:, None], others], dim=1)
    modality = torch.full(queries.shape[:2], TEXT, device=queries.device)
    feats, assign_maps = model.network.decode(tokens, queries, modality)
    maps = assignment_score_map(assign_maps, grid, model.score_map_blocks)
    return FoundNames(maps.float(), F.normalize(feats[:, 0].float(), dim=-1))


def best_boxes(
    score_map: np.ndarray,
    picture: ReadPicture,
    top_k: int,
    candidates: np.ndarray | None = None,
    shape: BoxShape | None = None,
) -> list[dict]:
    """The boxes that fit a score map best, ranked as by ``score_boxes``.

    The score is the mean of the map in the box, times the square root of the box's share of the
    picture: in [0, 1], and the same for pictures of any size.

    Args:
        score_map: (h, w).
        picture: what it is of.
        top_k: largest number of boxes.
        candidates: (K, 4) xyxy pixels of the network input; None for those of
            :class:`ScoreMapProposer`.
        shape: how boxes are made of parts of the map, whose score they keep; None for the best
            of several fractions of the peak.

    Returns:
        ``box``, xyxy in pixels of the original picture, and ``score``, the best
        first.
    """
    height, width = (TOKEN_SIDE * side for side in score_map.shape)
    _, net_height, net_width = picture.pixels.shape
    to_net = np.array([net_width / width, net_height / height] * 2)
    if candidates is None:
        cut = shape is not None and shape.fraction is not None
        propose = ScoreMapProposer((shape.fraction,)) if cut else ScoreMapProposer()
        boxes = propose(dict(pred_score_map=score_map, img_shape=(height, width)))
    else:
        boxes = candidates / to_net
    scores = score_boxes(upsample_score_map(score_map, (height, width)), boxes)
    scores = scores / (height * width) ** (1 - ALPHA)
    overlaps = pairwise_iou(boxes, boxes) > MAX_IOU
    kept: list[int] = []
    for k in scores.argsort(kind='stable')[::-1].tolist():
        if len(kept) < top_k and not overlaps[k, kept].any():
            kept.append(k)
    found = picture.to_original(boxes[kept] * to_net)
    if shape is not None:
        found = shape.reshape(found, picture.size)
    return [
        dict(box=[round(float(value), 2) for value in box], score=float(scores[k]))
        for box, k in zip(found, kept, strict=True)
    ]


def unique_names(token_ids: Sequence[Sequence[int]]) -> tuple[list[tuple], list[int]]:
    """Names of the same tokens are one, since the text tower cannot distinguish them.

    Returns:
        The different ids in their order, and for each name its place there.
    """
    places: dict[tuple, int] = {}
    numbers = [places.setdefault(tuple(ids), len(places)) for ids in token_ids]
    return list(places), numbers
