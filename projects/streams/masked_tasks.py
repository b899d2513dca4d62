"""Masked words and masked regions, predicted from the states of the streams."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.heads import PretextHead
from eclip_mm.registry import MODELS
from projects.fusion.masked_modelling import NOT_HIDDEN, MaskedModelling, mean_of_all
from projects.streams.matching import no_loss
from projects.streams.outputs import StreamOutputs


@MODELS.register_module()
class MaskedTasksHead(PretextHead):
    """Cross-entropy of hidden words, and mean squared error of hidden regions.

    Args:
        embed_dims: width of the states.
        tied: the map to a region's feature is the transposed one of the
            streams' input, with a bias of its own (UNITER).
        modelling: ``vocab_size``, ``patch_dims`` (the width of the image
            encoder) and other options of :class:`MaskedModelling`.
    """

    min_products = 1

    def __init__(self, embed_dims: int, vocab_size: int, patch_dims: int, tied=False, **modelling):
        super().__init__()
        self.widths = dict(vocab_size=vocab_size, patch_dims=patch_dims)
        self.modelling = MaskedModelling(embed_dims, **self.widths, **modelling)
        self.tied = tied

    def fit(self, network: nn.Module, name: str) -> None:
        """Compare the widths with those of the encoders, and tie the map to regions.

        Raises:
            ValueError: one differs; the message names the key of the config.
        """
        wanted = dict(
            vocab_size=network.text_encoder.vocab_size, patch_dims=network.image_encoder.embed_dims
        )
        for key, value in wanted.items():
            if self.widths[key] != value:
                raise ValueError(
                    f'model.pretext_heads.{name}.{key}={self.widths[key]}, but the encoder has '
                    f'{value}: set {key}={value}'
                )
        if self.tied:
            self.modelling.patches = TransposedLinear(network.streams.region_embed)

    def loss(self, outputs: StreamOutputs) -> dict[str, Tensor]:
        """Terms ``loss_mlm``, ``mlm_acc`` and ``loss_mrm``, as far as the step has them."""
        if outputs.task == 'itm':
            return dict(loss_mlm=no_loss(self))
        states, targets = outputs.states, outputs.word_targets
        terms = {}
        if outputs.task in (None, 'mlm'):
            logits = self.modelling.word_logits(states.words, targets)
            hidden = targets != NOT_HIDDEN
            if outputs.word_weights is not None:
                logits = logits * outputs.word_weights[:, None].expand(hidden.shape)[hidden, None]
            right = logits.argmax(dim=1) == targets[hidden]
            terms['loss_mlm'] = self.modelling.word_loss(logits, targets)
            terms['mlm_acc'] = mean_of_all(right.float())
        if outputs.task in (None, 'mrm'):
            terms['loss_mrm'] = self.modelling.patch_loss(
                states.regions[:, 1:],
                outputs.regions.feats[:, 1:],
                outputs.hidden_regions,
                outputs.region_weights,
            )
        if outputs.task is not None:
            terms[f'loss_{outputs.task}'] = terms[f'loss_{outputs.task}'] + no_loss(self)
        return terms


class TransposedLinear(nn.Module):
    """The transposed weights of a linear map, which stay that map's, and a bias.

    Args:
        linear: from C to H.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self._linear = (linear,)  # no part of this module: its weights have one name
        self.bias = nn.Parameter(torch.zeros(linear.in_features))

    def forward(self, states: Tensor) -> Tensor:
        """(..., C) of (..., H)."""
        return F.linear(states, self._linear[0].weight.T, self.bias)
