"""Object queries and classifier that start as the pretraining's prompts for class names."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eclip_mm.checkpoint.metadata import find_tokenizers, read_saved_config
from eclip_mm.checkpoint.safe_loading import read_checkpoint
from eclip_mm.config.from_checkpoint import without_pretrained
from eclip_mm.datasets.checkpoint_tokenizer import CheckpointTokenizer
from eclip_mm.datasets.converters.coco_check import read_categories
from eclip_mm.datasets.converters.coco_values import as_name
from eclip_mm.models.decoders import IMAGE, TEXT, scale_prompts
from eclip_mm.models.detection.backbone import build_part
from eclip_mm.models.projections import build_projection


def class_names(class_prompts: str | Sequence[str], num_classes: int) -> list[str]:
    """The prompts, one for each class.

    Args:
        class_prompts: the names, or a COCO file that lists them: the ``text``
            of each category (``catalogue_boxes.py`` writes the product's title
            there), or its ``name`` if it has no text.
        num_classes: required number of names.

    Raises:
        ValueError: there are more or fewer names.
    """
    source, names = 'class_prompts', class_prompts
    if isinstance(class_prompts, str):
        categories = read_categories(class_prompts)
        source, names = class_prompts, [as_name(c.get('text')) or c['name'] for c in categories]
    if len(names) != num_classes:
        raise ValueError(
            f'{source} has {len(names)} names, bbox_head.num_classes is {num_classes}'
        )
    return list(names)


class NameEncoder(nn.Module):
    """Text encoder, g_T and tokenizer of a pretraining checkpoint, for names.

    Its weights are random until :func:`load_pretrained` loads ``text_encoder``
    and ``text_proj``.

    Args:
        checkpoint: path of a pretraining checkpoint.
    """

    def __init__(self, checkpoint: str):
        super().__init__()
        saved = read_saved_config(checkpoint)
        model = without_pretrained(saved['model'])
        self.text_encoder = build_part(model['text_encoder'])
        kind = (model.get('projections') or {}).get('text', 'linear')
        widths = self.text_encoder.embed_dims, model.get('embed_dims', 512)
        self.text_proj = build_projection(kind, 'text', *widths)
        self.tokenizer = CheckpointTokenizer(checkpoint)
        lengths = [part['max_length'] for part in find_tokenizers(saved) if 'max_length' in part]
        self.max_length = max(lengths, default=55)
        self.eval()

    @torch.no_grad()
    def forward(self, names: Sequence[str]) -> Tensor:
        """(C, D) L2-normalised features g_T of C names."""
        feats = []
        for name in names:  # one by one: nothing to pad
            ids = torch.tensor([self.tokenizer(name, max_length=self.max_length)])
            feats.append(self.text_proj(self.text_encoder(ids, torch.ones_like(ids))))
        return nn.functional.normalize(torch.cat(feats).float(), dim=-1)


@torch.no_grad()
def begin_with_names(
    query_embedding: nn.Embedding, name_feats: Tensor, checkpoint: str, prefix: str = 'network.'
) -> None:
    """Begin learned queries as the instance queries (Eq. 1) of names.

    Query t is that of name ``t mod C``, which finds the region of that product
    in zero-shot grounding.

    Args:
        query_embedding: (T, D) with T >= C, changed in place.
        name_feats: (C, D) of a :class:`NameEncoder`.
        checkpoint, prefix: as for :func:`load_pretrained`.
    """
    begin_with_tokens(query_embedding, checkpoint, prefix, TEXT)
    places = torch.arange(len(query_embedding.weight)) % len(name_feats)
    query_embedding.weight.add_(scale_prompts(name_feats)[places])


@torch.no_grad()
def begin_with_tokens(
    query_embedding: nn.Embedding,
    checkpoint: str,
    prefix: str = 'network.',
    modality: int = IMAGE,
) -> None:
    """Set what Eq. 1 adds to a prompt: its position and its type.

    Args:
        query_embedding: (T, D), changed in place. It becomes zero from a
            checkpoint without decoder (CLIP).
        checkpoint, prefix: as for :func:`load_pretrained`.
        modality: of the prompts.
    """
    state = read_checkpoint(checkpoint)
    state = state.get('state_dict', state)
    query_embedding.weight.zero_()
    if f'{prefix}queries.pos_embed' in state:
        pos_embed = state[f'{prefix}queries.pos_embed']
        places = torch.arange(len(query_embedding.weight)) % len(pos_embed)
        query_embedding.weight.add_(pos_embed[places])
        query_embedding.weight.add_(state[f'{prefix}queries.type_embed'][modality])


@torch.no_grad()
def begin_classifier(
    classifier: nn.Linear, name_feats: Tensor, checkpoint: str, sigmoid: bool
) -> None:
    """Begin a classifier of H as the similarity with names that Eq. 9 trains.

    The logit scale is the pretraining's. With a softmax, "no object" starts at
    0. A sigmoid keeps its bias, so that the classes start rare, and compares
    with the names less their mean: otherwise a scale of 100 would make all
    classes of any product certain.

    Args:
        classifier: D to C + 1, or to C with a sigmoid, changed in place.
        name_feats: (C, D) of a :class:`NameEncoder`.
        checkpoint: path of the pretraining checkpoint.
        sigmoid: whether the classes are independent.
    """
    num_names, dims = name_feats.shape
    scale = read_checkpoint(checkpoint)['state_dict']['logit_scale'].exp()
    if sigmoid:
        name_feats = name_feats - name_feats.mean(dim=0)
    # the decoder's LayerNorm gives features a norm of about sqrt(D)
    classifier.weight.zero_()
    classifier.weight[:num_names] = name_feats * scale / math.sqrt(dims)
    if not sigmoid:
        classifier.bias.zero_()
