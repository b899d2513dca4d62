"""Features of products as an evaluation extracts them; each text is encoded once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.embedding.products import Block
from eclip_mm.models.precision import convolutions_in_float32

FEATURES = ('image', 'text', 'instance')


@dataclass
class BlockFeatures:
    """Features of B products with P pictures in all; float32 on the CPU, L2-normalised.

    Attributes:
        text: (B, D) text features, or None if they were not asked for.
        image, instance: (P, D) features of pictures in the order of the products, or None.
    """

    text: Tensor | None = None
    image: Tensor | None = None
    instance: Tensor | None = None


class ProductEmbedder:
    """The features of ``ECLIP.predict`` for products with any number of pictures.

    Negative queries depend on the picture and its text at most: a feature
    depends neither on its batch, nor on the order of the rows, nor on the
    product_id.

    Args:
        model: an ``ECLIP`` in evaluation mode.
        features: some of :data:`FEATURES`; what none of them needs is not computed.
        batch_size: number of pictures, and of texts, at a time.
        amp: bf16 autocast. Without it, convolutions are float32 even if the process allows TF32 in
            them.
    """

    def __init__(
        self, model: nn.Module, features: Sequence[str], batch_size: int = 64, amp: bool = False
    ) -> None:
        unknown = [name for name in features if name not in FEATURES]
        if unknown or not features:
            raise ValueError(
                f'features are some of {", ".join(FEATURES)}, got {", ".join(features) or "none"}'
            )
        self.model = model
        self.features = tuple(features)
        self.batch_size = batch_size
        self.amp = amp

    @torch.no_grad()
    def __call__(self, block: Block) -> BlockFeatures:
        device = self.model.logit_scale.device
        with self.precision():
            text = image = instance = None
            if 'text' in self.features or 'instance' in self.features:
                inputs = zip(
                    block.input_ids.to(device).split(self.batch_size),
                    block.attention_mask.to(device).split(self.batch_size),
                    strict=True,
                )
                text = torch.cat([self.model.network.encode_text(*part) for part in inputs])
            if 'image' in self.features or 'instance' in self.features:
                image, instance = self._encode_pictures(block, text)
        found = dict(text=text, image=image, instance=instance)
        return BlockFeatures(**{name: found[name].float().cpu() for name in self.features})

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Inside, the model computes with the precision of the features."""
        device = self.model.logit_scale.device
        with (
            torch.autocast(device.type, torch.bfloat16, enabled=self.amp),
            nullcontext() if self.amp else convolutions_in_float32(),
        ):
            yield

    def _encode_pictures(
        self, block: Block, text_feats: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        owners = [k for k, product in enumerate(block.products) for _ in product.pictures]
        feats, instances = [], []
        for start in range(0, len(owners), self.batch_size):
            rows = slice(start, start + self.batch_size)
            batch = dict(inputs=dict(images=block.images[rows, None]), data_samples=None)
            images = self.model.data_preprocessor(batch)['inputs']['images']
            image_feats, patch_tokens, grid = self.model.network.encode_image(images[:, 0])
            feats.append(image_feats)
            if 'instance' in self.features:
                found, _ = self.model.locate(patch_tokens, grid, text_feats[owners[rows]])
                instances.append(image_feats if found is None else found)  # as in `predict`
        return torch.cat(feats), torch.cat(instances) if instances else None


def mean_of_pictures(feats: Tensor, counts: Sequence[int]) -> Tensor:
    """(P, D) features of pictures -> (B, D), the normalised mean for each product."""
    means = torch.stack([part.mean(dim=0) for part in feats.split(list(counts))])
    return F.normalize(means, dim=-1)
