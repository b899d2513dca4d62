"""The last transform of every pipeline, which makes tensors and a data sample."""

import numpy as np
import torch

from eclip_mm.registry import TRANSFORMS
from eclip_mm.structures import ProductDataSample


@TRANSFORMS.register_module()
class PackProductInputs:
    """Pack pictures and token ids into tensors, and the rest into a data sample.

    The result has two keys. ``inputs`` contains ``images``, uint8 (V, 3, H, W) or
    float16 (V, ...) features from a cache; ``input_ids``, int64 (M,); and, beside
    features, ``picture``, the first picture, where ``CachedPictures`` shows it.
    ``data_samples`` is a ``ProductDataSample``.
    In evaluation, where the dataset provides boxes, those of the first picture
    become ``gt_bboxes`` (of the product itself) and ``object_bboxes`` (of all
    objects).

    Raises:
        ValueError: the pictures of a product differ in size.
    """

    def __call__(self, results: dict) -> dict:
        records = results['image_records']
        arrays = [np.asarray(image) for image in results['images']]
        if any(a.shape != arrays[0].shape for a in arrays):
            raise ValueError(
                f"PackProductInputs: the pictures of product '{results['product_id']}' differ in "
                f'size, {[a.shape[:2] for a in arrays]}; put RandomResizedCrop or Resize before it'
            )
        images = torch.from_numpy(np.stack(arrays))
        if images.dtype == torch.uint8:
            images = images.permute(0, 3, 1, 2).contiguous()
        data_sample = ProductDataSample(
            metainfo=dict(
                product_id=results['product_id'],
                text=results['text'],
                category=results['category'],
                attributes=results.get('attributes', {}),
                sources=tuple(record['source'] for record in records),
                image_ids=tuple(record['image_id'] for record in records),
                ori_shape=tuple(results['ori_shape']),
                img_shape=tuple(results.get('img_shape', arrays[0].shape[:2])),
                split=results['split'],
            )
        )
        if 'boxes' in records[0]:
            ids = results['box_product_ids'][0]
            boxes = torch.from_numpy(results['boxes'][0].astype(np.float32).reshape(-1, 4))
            of_product = torch.tensor([i == results['product_id'] for i in ids], dtype=torch.bool)
            data_sample.set_metainfo(dict(object_product_ids=tuple(ids)))
            data_sample.set_field(boxes[of_product], 'gt_bboxes', dtype=torch.Tensor)
            data_sample.set_field(boxes, 'object_bboxes', dtype=torch.Tensor)
        inputs = dict(
            images=images, input_ids=torch.tensor(results['input_ids'], dtype=torch.long)
        )
        if 'picture' in results:
            picture = torch.from_numpy(np.array(results['picture']))
            inputs['picture'] = picture.permute(2, 0, 1).contiguous()
        return dict(inputs=inputs, data_samples=data_sample)

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
