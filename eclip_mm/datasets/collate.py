"""Collating packed samples into a batch."""

from collections.abc import Sequence

import torch
from mmengine.registry import FUNCTIONS as MMENGINE_FUNCTIONS

from eclip_mm.registry import FUNCTIONS


# mmengine's Runner searches its root registry for the collate function, regardless of the default
# scope: it must be registered there as well.
@MMENGINE_FUNCTIONS.register_module()
@FUNCTIONS.register_module()
def collate_products(samples: Sequence[dict], pad_token_id: int = 0) -> dict:
    """Collate the output of ``PackProductInputs``.

    Args:
        samples: B samples, each ``inputs`` (``images`` uint8 (V, 3, H, W), or features (V, ...);
            ``input_ids`` long (M_b,); perhaps ``picture``) and ``data_samples``.
        pad_token_id: id that fills short texts. Defaults to 0, the id of BERT.

    Returns:
        ``inputs`` with ``images`` uint8 (B, V, 3, H, W) with the largest V of the samples,
        ``input_ids`` long (B, M) padded to the longest text, ``attention_mask`` long (B, M), 1 at
        real tokens; ``data_samples``, a list of B.

    Raises:
        ValueError: the pictures differ in size.
    """
    images = [sample['inputs']['images'] for sample in samples]
    most = max(len(i) for i in images)
    # a picture without a prompt is its own prompt, where others of the batch have one
    images = [torch.cat([i, i[:1].expand(most - len(i), *i.shape[1:])]) for i in images]
    odd = next((i for i in images if i.shape != images[0].shape), None)
    if odd is not None:
        raise ValueError(
            f'collate_products: pictures of a batch differ in shape, {tuple(images[0].shape)} and '
            f'{tuple(odd.shape)}; end the pipeline with RandomResizedCrop or Resize'
        )
    ids = [sample['inputs']['input_ids'] for sample in samples]
    lengths = torch.tensor([len(i) for i in ids])
    input_ids = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad_token_id)
    attention_mask = (torch.arange(input_ids.shape[1]) < lengths[:, None]).long()
    inputs = dict(images=torch.stack(images), input_ids=input_ids, attention_mask=attention_mask)
    if 'picture' in samples[0]['inputs']:
        inputs['picture'] = torch.stack([sample['inputs']['picture'] for sample in samples])
    return dict(inputs=inputs, data_samples=[sample['data_samples'] for sample in samples])


def first_pictures(inputs: dict) -> torch.Tensor | None:
    """The first picture of each sample, to look at.

    Args:
        inputs: of a collated batch, or of one sample.

    Returns:
        uint8 (B, 3, H, W), without B of one sample; None where the batch has features alone.
    """
    if 'picture' in inputs:
        return inputs['picture']
    images = inputs.get('images')
    if not isinstance(images, torch.Tensor) or images.dtype == torch.float16:
        return None
    return images[:, 0] if images.ndim == 5 else images[0] if images.ndim == 4 else None
