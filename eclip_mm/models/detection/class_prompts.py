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
from eclip_mm.models.decoders import TEXT, scale_prompts
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
    query_embedding: nn.Embedding,
    classifier: nn.Linear,
    name_feats: Tensor,
    checkpoint: str,
    prefix: str = 'network.',
) -> None:
    """Initialise a detector with what the pretraining knows of the names.

    Object query t becomes the instance query (Eq. 1) of name ``t mod C``, which
    finds the region of that product in zero-shot grounding. The classifier
    becomes the similarity with the features of the names that Eq. 9 trains,
    including the logit scale; "no object" starts at 0.

    Args:
        query_embedding: (T, D) with T >= C, changed in place.
        classifier: D to C + 1, changed in place.
        name_feats: (C, D) of a :class:`NameEncoder`.
        checkpoint, prefix: as for :func:`load_pretrained`.
    """
    num_queries, dims = query_embedding.weight.shape
    num_names = len(name_feats)
    state = read_checkpoint(checkpoint)['state_dict']
    places = torch.arange(num_queries)
    queries = scale_prompts(name_feats)[places % num_names]
    if f'{prefix}queries.pos_embed' in state:  # CLIP has none
        pos_embed = state[f'{prefix}queries.pos_embed']
        queries = queries + pos_embed[places % len(pos_embed)]
        queries = queries + state[f'{prefix}queries.type_embed'][TEXT]
    query_embedding.weight.copy_(queries)
    # the decoder's LayerNorm gives features a norm of about sqrt(D)
    classifier.weight.zero_()
    classifier.weight[:num_names] = name_feats * state['logit_scale'].exp() / math.sqrt(dims)
    classifier.bias.zero_()
