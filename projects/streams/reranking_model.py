"""Streams without a contrast: pairs are scored one by one, so CLIP retrieves the candidates."""

import numpy as np
import torch
from torch import Tensor

from eclip_mm.structures import ProductDataSample
from projects.streams.grounding import grad_cam_map
from projects.streams.matching import StreamMatchingHead
from projects.streams.model import StreamsModel
from projects.streams.reranking import REGIONS, WORDS


class RerankingStreams(StreamsModel):
    """A model that tells whether a text and a picture belong together.

    Its vectors are those of a CLIP that is trained beside it on the same
    towers, by a head of its own through which no gradient reaches towers or
    streams.

    Args:
        score_layer: index among the layers in which words and regions meet, of
            the attention that Grad-CAM reads.
        kwargs: of :class:`StreamsModel`.

    Raises:
        ValueError: no head matches texts and pictures.
    """

    def __init__(self, score_layer: int = -1, **kwargs):
        super().__init__(**kwargs)
        self.score_layer = score_layer
        heads = [head for head in self.heads.values() if isinstance(head, StreamMatchingHead)]
        if len(heads) != 1:
            raise ValueError(
                f'{type(self).__name__} needs one head that matches texts and pictures, '
                f'pretext_heads has {len(heads)}: {sorted(self.heads)}'
            )

    @property
    def matching_head(self) -> StreamMatchingHead:
        return next(h for h in self.heads.values() if isinstance(h, StreamMatchingHead))

    def features(self, states, regions, text) -> tuple[Tensor, Tensor]:
        network = self.network
        return network.project_image(regions.feats[:, 0]), network.encode_text(*text)

    @torch.no_grad()
    def predict(
        self, inputs: dict, data_samples: list[ProductDataSample]
    ) -> list[ProductDataSample]:
        """Write the ``pred_*`` fields: vectors of CLIP, and the Grad-CAM of matching as map.

        The map of an image prompt is CLIP's: a picture has no words.
        """
        super().predict(inputs, data_samples)
        text = inputs['input_ids'], inputs['attention_mask']
        regions, grid = self.network.find_regions(inputs['images'][:, 0])

        def read(maps: list[Tensor]):
            states = self.network.read(*text, regions, maps=maps)
            logits = self.matching_head.logits(states)
            return states, logits[:, 1] - logits[:, 0]

        fields = dict(pred_score_map=grad_cam_map(read, regions, grid, self.score_layer))
        states = self.network.read(*text, regions)
        fields[WORDS] = pack(states.own_words, states.word_mask)
        fields[REGIONS] = pack(states.own_regions, states.region_mask)
        fields = {name: value.float().cpu() for name, value in fields.items()}
        for k, sample in enumerate(data_samples):
            sample.set_data({name: value[k] for name, value in fields.items()})
        return data_samples

    @torch.no_grad()
    def score_pairs(self, words: np.ndarray, regions: np.ndarray) -> np.ndarray:
        """How well texts and pictures match.

        Args:
            words: (P, M, 1 + H) packed states of texts, see :func:`pack`.
            regions: (P, 1 + K, 1 + H) of pictures.

        Returns:
            (P,) log odds.
        """
        weight = self.logit_scale
        states = [unpack(torch.from_numpy(x).to(weight)) for x in (words, regions)]
        (words, word_mask), (regions, region_mask) = states
        states = self.network.streams.meet(words, regions, word_mask, region_mask)
        logits = self.matching_head.logits(states)
        return (logits[:, 1] - logits[:, 0]).double().cpu().numpy()


def pack(states: Tensor, mask: Tensor) -> Tensor:
    """(B, M, 1 + H) states behind a 1 for each that is no padding, and a 0 for padding."""
    return torch.cat([mask[..., None].to(states), states * mask[..., None]], dim=-1)


def unpack(packed: Tensor) -> tuple[Tensor, Tensor]:
    """States (B, M, H) and mask (B, M) of :func:`pack`."""
    return packed[..., 1:], packed[..., 0] > 0.5
