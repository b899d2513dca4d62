"""Streams with a contrast between them: one vector for each picture, text and product."""

import torch
import torch.nn.functional as F
from torch import Tensor

from eclip_mm.models.encoders.families import check_choice
from eclip_mm.models.score_map import similarity_score_map
from eclip_mm.structures import ProductDataSample
from projects.streams.model import StreamsModel
from projects.streams.network import PooledStreamsNetwork
from projects.streams.outputs import StreamStates

#: what the score map of a model with a contrast is
SCORE_MAPS = ('similarity', 'attention')


class ContrastStreams(StreamsModel):
    """A model whose pictures and texts are compared by vectors.

    Args:
        score_map: ``similarity`` of the patches' features and the prompt's, or
            the ``attention`` of the words in ``score_layer``.
        score_layer: index among the layers in which words and regions meet.
        kwargs: of :class:`StreamsModel`.
    """

    network_type = PooledStreamsNetwork

    def __init__(self, score_map: str = 'similarity', score_layer: int = -1, **kwargs):
        super().__init__(**kwargs)
        check_choice('score_map', score_map, SCORE_MAPS)
        self.score_map, self.score_layer = score_map, score_layer

    def features(self, states, regions, text) -> tuple[Tensor, Tensor]:
        return self.network.pool_image(states), self.network.pool_text(states)

    def product_feats(self, states: StreamStates) -> Tensor:
        """(B, D) or (B, H) L2-normalised vector of a picture with its text."""
        raise NotImplementedError

    @torch.no_grad()
    def predict(
        self, inputs: dict, data_samples: list[ProductDataSample]
    ) -> list[ProductDataSample]:
        """Write the ``pred_*`` fields of :class:`ProductDataSample`.

        The map of an image prompt is always that of similarity: a picture has
        no words.
        """
        network = self.network
        regions, grid = network.find_regions(inputs['images'][:, 0])
        maps = [] if self.score_map == 'attention' else None
        states = network.read(inputs['input_ids'], inputs['attention_mask'], regions, maps=maps)
        image_feats, text_feats = network.pool_image(states), network.pool_text(states)
        patches = regions.to_patches(network.image_proj(states.own_regions[:, 1:]))
        if maps is None:
            score_map = similarity_score_map(patches, text_feats, grid)
        else:
            score_map = regions.to_map(words_attend(maps[self.score_layer], states), grid)
        fields = dict(
            pred_image_feat=image_feats,
            pred_text_feat=text_feats,
            pred_instance_feat=self.product_feats(states),
            pred_score_map=score_map,
        )
        if inputs['images'].shape[1] > 1:
            prompts = network.encode_image_feats(inputs['images'][:, 1])
            fields['pred_image_prompt_map'] = similarity_score_map(patches, prompts, grid)
        fields = {name: value.float().cpu() for name, value in fields.items()}
        for k, sample in enumerate(data_samples):
            sample.set_data({name: value[k] for name, value in fields.items()})
        return data_samples


def words_attend(attention: Tensor, states: StreamStates) -> Tensor:
    """(B, K) attention to each region, mean over heads and words.

    Args:
        attention: (B, heads, M, 1 + K) of words to regions, or of all to all,
            words first.
        states: which words are no padding.
    """
    num_words, num_regions = states.words.shape[1], states.regions.shape[1]
    found = attention.mean(dim=1)[:, :num_words, 1 - num_regions :]
    words = states.word_mask.to(found)
    return torch.einsum('bmk,bm->bk', found, words) / words.sum(dim=1, keepdim=True)


def normalised_sum(*feats: Tensor) -> Tensor:
    """(B, D) L2-normalised sum."""
    return F.normalize(sum(feats).float(), dim=-1)
