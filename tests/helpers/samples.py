"""Samples with predictions, as a test loop hands them to metrics."""

import numpy as np
import torch
from mmengine.evaluator import Evaluator

from eclip_mm.registry import METRICS
from eclip_mm.structures import ProductDataSample

LEFT, RIGHT, ALL = [0, 0, 4, 8], [4, 0, 8, 8], [0, 0, 8, 8]

METRIC_CONFIGS = [
    dict(type='ImageTextRetrieval'),
    dict(type='ProductRetrieval'),
    dict(type='ProductRetrieval', protocol='m5'),
    dict(type='ProductRetrieval', protocol='product1m'),
    dict(type='ProductGrounding'),
    dict(type='ZeroShotClassification'),
]


def unit(*angles):
    """2-D unit vectors at angles in degrees."""
    angles = np.deg2rad(np.array(angles, dtype=float))
    return torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], -1)).float()


def sample(
    product_id,
    image=0,
    text=0,
    instance=None,
    words=None,
    category=None,
    split='val',
    source='comment',
    **fields,
):
    element = ProductDataSample(
        metainfo=dict(
            product_id=product_id,
            text=words or f'text of {product_id}',
            category=category,
            sources=(source,),
            image_ids=(f'{product_id}#0',),
            split=split,
            img_shape=(8, 8),
        )
    )
    element.set_data(
        dict(
            pred_image_feat=unit(image)[0],
            pred_text_feat=unit(text)[0],
            pred_instance_feat=unit(image if instance is None else instance)[0],
            **fields,
        )
    )
    return element


def build_evaluator(metrics):
    """What mmengine's Runner builds under ``default_scope = 'eclip_mm'``."""
    return Evaluator([METRICS.build(m) if isinstance(m, dict) else m for m in metrics])


def run(metric, samples, batch_size=2, data_batch=None):
    """Evaluate through mmengine, as a test loop does."""
    evaluator = build_evaluator(metric if isinstance(metric, list) else [metric])
    for start in range(0, len(samples), batch_size):
        evaluator.process(samples[start : start + batch_size], data_batch)
    return evaluator.evaluate(len(samples))


def grounding_sample(score_map, gt, objects, product_id='a', **kwargs):
    return sample(
        product_id,
        pred_score_map=torch.tensor(score_map, dtype=torch.float32),
        gt_bboxes=torch.tensor(gt, dtype=torch.float32).reshape(-1, 4),
        object_bboxes=torch.tensor(objects, dtype=torch.float32).reshape(-1, 4),
        **kwargs,
    )


NUM_SAMPLES = 9  # odd: the sampler repeats the first sample at the end


def make_samples() -> list[ProductDataSample]:
    """:data:`NUM_SAMPLES` of three products in two splits."""
    generator = torch.Generator().manual_seed(0)
    # Splits lie so that the two ranks hold different numbers of each.
    return [
        grounding_sample(
            torch.rand(2, 2, generator=generator).tolist(),
            [LEFT],
            [LEFT, RIGHT],
            f'p{i % 3}',
            image=41 * i % 360,
            text=120 * (i % 3),
            category='xy'[i % 2],
            split='photos' if i in (0, 2, 3, 4, 6, 8) else 'other',
        )
        for i in range(NUM_SAMPLES)
    ]
