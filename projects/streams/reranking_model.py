"""Streams without a contrast: pairs are scored one by one, so CLIP retrieves the candidates."""

import torch
from torch import Tensor

import projects.streams.product_matching  # noqa: F401  registers its metric
from eclip_mm.structures import ProductDataSample
from projects.fusion.grad_cam import grad_cam
from projects.fusion.two_stage import IMAGE_STATES, TEXT_STATES
from projects.streams.matching import StreamMatchingHead
from projects.streams.model import StreamsModel
from projects.streams.regions import Regions


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

        states = self.network.read(*text, regions)
        fields = dict(pred_score_map=regions.to_map(self.locate_words(text, regions), grid))
        fields[IMAGE_STATES] = pack(states.own_regions, states.region_mask)
        fields = {name: value.float().cpu() for name, value in fields.items()}
        words, word_mask = states.own_words.float().cpu(), states.word_mask.cpu()
        for k, sample in enumerate(data_samples):
            sample.set_data({name: value[k] for name, value in fields.items()})
            sample.set_data({TEXT_STATES: words[k][word_mask[k]]})
        return data_samples

    def locate_words(self, text: tuple[Tensor, Tensor], regions: Regions) -> Tensor:
        """(B, K) Grad-CAM of matching: the regions that speak for the text."""
        joint = len(self.network.streams.joint.layers) > 0
        word_mask = text[1].bool()
        num_words = word_mask.shape[1]
        if joint:  # whose attention has a row for each region, too
            word_mask = torch.cat([word_mask, torch.zeros_like(regions.mask)], dim=1)

        def score(maps: list[Tensor]) -> Tensor:
            states = self.network.read(*text, regions, maps=maps)
            return log_odds(self.matching_head.logits(states))

        found = grad_cam(score, word_mask, self.score_layer)
        return found[:, (num_words if joint else 0) + 1 :]

    def match(self, image_states: Tensor, text_states: Tensor, text_mask: Tensor) -> Tensor:
        """How well pictures and texts match, log odds (P,).

        Args:
            image_states: (P, 1 + K, 1 + H) :func:`packed <pack>` states of the image stream.
            text_states: (P, M, H) of the text stream.
            text_mask: (P, M) bool, False at padding.
        """
        regions, mask = image_states[..., 1:], image_states[..., 0] > 0.5
        states = self.network.streams.meet(text_states, regions, text_mask, mask)
        return log_odds(self.matching_head.logits(states))


def log_odds(logits: Tensor) -> Tensor:
    """(B,) of belonging together, of (B, 2) logits."""
    return logits[:, 1] - logits[:, 0]


def pack(states: Tensor, mask: Tensor) -> Tensor:
    """(B, R, 1 + H) states behind a 1 for each that is no padding, and a 0 for padding."""
    return torch.cat([mask[..., None].to(states), states * mask[..., None]], dim=-1)
