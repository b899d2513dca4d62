"""The blocks of the instance decoder, with the boxes of one as places for the next."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eclip_mm.models.decoders import InstanceDecoder
from eclip_mm.models.detection.dense_branch import DenseOutputs
from eclip_mm.models.detection.detr_head import EclipDETRHead
from eclip_mm.models.detection.query_places import QueryPlaces
from eclip_mm.models.detection.references import assignment_boxes, sharpen
from eclip_mm.models.detection.token_grid import TokenGrid
from eclip_mm.models.detection.token_queries import gather_tokens
from eclip_mm.models.precision import at_least_float32


@dataclass
class Queries:
    """Object queries and where they come from.

    Attributes:
        vectors: Q (B, K * T, D).
        references: their first boxes (B, K * T, 4), cxcywh as fractions of the
            picture; None for learned queries.
        tokens: (B, K * T) indices of the tokens that they are taken from; None
            for learned queries.
        num_groups: K.
    """

    vectors: Tensor
    references: Tensor | None
    tokens: Tensor | None
    num_groups: int


def decode_queries(
    decoder: InstanceDecoder,
    head: EclipDETRHead,
    query_places: QueryPlaces,
    memory: Tensor,
    queries: Queries,
    dense: DenseOutputs | None,
    grid: TokenGrid,
    refine: bool,
) -> dict[str, Tensor]:
    """H, box and evidence of every block.

    Args:
        decoder, head, query_places: of the detector.
        memory: Z (B, N, D).
        queries: the queries.
        dense: outputs of the dense branch, if there is one.
        grid: of the tokens.
        refine: see :class:`EclipDETR`.

    Returns:
        Arguments of :meth:`EclipDETRHead.forward`.
    """
    z = at_least_float32(decoder.norm_tokens(memory))
    h, last = torch.zeros_like(queries.vectors), queries.references
    outputs: dict[str, list[Tensor]] = dict(hidden_states=[], boxes=[], evidence=[])
    for block in decoder.blocks:
        bias, places = query_places(last, grid)
        h, assign_map = block(
            z, queries.vectors, h, grid.padding, bias, places, queries.num_groups
        )
        feats = decoder.norm_out(h)
        start = last if refine else queries.references
        if start is None:
            start = assignment_boxes(assign_map, grid.positions)
        boxes = head.refine(feats, start)
        last = boxes.detach()
        outputs['hidden_states'].append(feats)
        outputs['boxes'].append(boxes)
        if dense is not None:
            evidence = sharpen(assign_map) @ at_least_float32(dense.features)
            if queries.tokens is not None:
                evidence = evidence + gather_tokens(dense.features, queries.tokens)
            outputs['evidence'].append(evidence)
    return {name: torch.stack(values) for name, values in outputs.items() if values}
