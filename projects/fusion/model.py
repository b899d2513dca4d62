"""A model with a fusion and a momentum model: what ALBEF and BLIP share."""

from functools import partial

import torch
from mmengine.dist import get_dist_info
from torch import Tensor

from eclip_mm.models.eclip import ECLIP
from eclip_mm.models.momentum import cast_once
from eclip_mm.models.product_ids import hash_product_ids
from eclip_mm.registry import MODELS
from eclip_mm.structures import ProductDataSample
from projects.fusion.draws import StepDraws
from projects.fusion.grad_cam import grad_cam
from projects.fusion.heads import FusedWordsHead, FusionMatchingHead
from projects.fusion.network import MatchingNetwork
from projects.fusion.outputs import MatchingOutputs
from projects.fusion.two_stage import IMAGE_STATES, TEXT_STATES


class MatchingModel(ECLIP):
    """The towers of :class:`ECLIP` with a fusion in the place of the instance decoder.

    Features are CLIP's. The score map of a text is the Grad-CAM of matching;
    that of an image prompt is CLIP's, since a picture has no words.

    Args:
        fusion, masking: see :class:`MatchingNetwork`.
        alpha: weight of the momentum model's soft targets.
        alpha_steps: number of steps in which this weight rises linearly from 0.
        score_layer: index of the layer of the fusion that Grad-CAM reads.
        kwargs: of :class:`ECLIP`.

    Attributes:
        keeps_states: whether ``predict`` writes what :meth:`match` needs of a
            picture and a text; ``MatchingHook`` sets it.

    Raises:
        ValueError: a pretext task needs the instance decoder, none matches
            pairs, ``chunk_size`` is given, or masked words lack one of their
            two configs.
    """

    network_type = MatchingNetwork

    def __init__(
        self,
        fusion: dict,
        masking: dict | None = None,
        alpha: float = 0.4,
        alpha_steps: int = 0,
        score_layer: int = -1,
        **kwargs,
    ):
        name = type(self).__name__
        if kwargs.get('chunk_size') is not None:
            raise ValueError(
                f'{name} keeps the activations of the whole batch: chunk_size='
                f'{kwargs["chunk_size"]} would not bound its memory. Set it to None'
            )
        if not 0 <= alpha <= 1:
            raise ValueError(f'alpha must lie in [0, 1], got {alpha}')
        super().__init__(fusion=fusion, masking=masking, **kwargs)
        if self.with_decoder:
            wrong = [key for key, head in self.heads.items() if head.needs_decoder]
            raise ValueError(
                f'{name} has no instance decoder, which pretext_heads {wrong} need; '
                'set them to None'
            )
        self._check_heads(masking)
        self.alpha, self.alpha_steps, self.score_layer = alpha, alpha_steps, score_layer
        self.teacher = MODELS.build(dict(kwargs['momentum'], network=self.network))
        self.shares_words = all(
            mine is its
            for mine, its in zip(
                self.network.text_encoder.parameters(),
                self.teacher.network.text_encoder.parameters(),
                strict=True,
            )
        )
        self.prompts = StepDraws()  # the name that is given the run's seed
        self.keeps_states = False

    def _check_heads(self, masking: dict | None) -> None:
        heads = list(self.heads.values())
        if not any(isinstance(head, FusionMatchingHead) for head in heads):
            raise ValueError(
                f'{type(self).__name__} needs a head of type FusionMatchingHead, pretext_heads '
                f'has {sorted(self.heads)}: without it nothing trains the fusion to match'
            )
        if any(isinstance(head, FusedWordsHead) for head in heads) != (masking is not None):
            raise ValueError(
                'masked words need both a head of type FusedWordsHead in pretext_heads and '
                f'`masking`; pretext_heads has {sorted(self.heads)}, and masking is {masking}'
            )

    def extract(self, inputs: dict, data_samples: list[ProductDataSample]) -> MatchingOutputs:
        """Both networks on one training batch."""
        images, ids = inputs['images'][:, 0], inputs['input_ids']
        mask = inputs['attention_mask']
        image_feats, patches, _ = self.network.encode_picture(images)
        words = self.network.text_encoder.encode_tokens(ids, mask)
        teacher = self.teacher.network
        with torch.no_grad(), cast_once(teacher, images.device):
            its_image_feats, its_patches, _ = teacher.encode_picture(images)
            its_words = words
            if not self.shares_words:
                its_words = teacher.text_encoder.encode_tokens(ids, mask)
            its_text_feats = teacher.pool_words(its_words, mask)
        id_hash = hash_product_ids([s.product_id for s in data_samples])
        num_ranks = get_dist_info()[1]
        return MatchingOutputs(
            image_feats,
            self.network.pool_words(words, mask),
            id_hash=id_hash.to(images.device),
            logit_scale=self.logit_scale.exp(),
            input_ids=ids,
            words=words,
            word_mask=mask.bool(),
            patches=patches,
            network=self.network,
            teacher=teacher,
            teacher_feats=dict(image=its_image_feats, text=its_text_feats),
            teacher_patches=its_patches,
            alpha=self.alpha * min(1.0, (self.num_steps + 1) / max(1, self.alpha_steps)),
            draw=partial(self._draw, len(images), num_ranks),
        )

    def _draw(self, num_rows: int, num_ranks: int, name: str, *shape: int) -> Tensor:
        return self.prompts(name, self.num_steps, num_rows, num_ranks, *shape)

    def match(self, image_states: Tensor, text_states: Tensor, text_mask: Tensor) -> Tensor:
        """(P,) logits of belonging together, of P pairs of what ``predict`` has written."""
        logits = self.network.match(text_states, text_mask, image_states)
        return logits[:, 1] - logits[:, 0]

    @torch.no_grad()
    def predict(
        self, inputs: dict, data_samples: list[ProductDataSample]
    ) -> list[ProductDataSample]:
        """Write the ``pred_*`` fields: vectors of CLIP, and the Grad-CAM of matching as map."""
        super().predict(inputs, data_samples)
        mask = inputs['attention_mask'].bool()
        _, patches, grid = self.network.encode_picture(inputs['images'][:, 0])
        words = self.network.text_encoder.encode_tokens(
            inputs['input_ids'], inputs['attention_mask']
        )

        def score(maps: list[Tensor]) -> Tensor:
            logits = self.network.match(words, mask, patches, maps)
            return logits[:, 1] - logits[:, 0]

        score_maps = grad_cam(score, mask, self.score_layer).float().cpu().unflatten(1, grid)
        for k, sample in enumerate(data_samples):
            fields = dict(pred_score_map=score_maps[k])
            if self.keeps_states:
                fields[IMAGE_STATES] = patches[k].float().cpu()
                fields[TEXT_STATES] = words[k, mask[k]].float().cpu()
            sample.set_data(fields)
        return data_samples
