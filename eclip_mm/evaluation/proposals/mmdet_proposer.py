"""Candidate boxes from any mmdet detector or RPN.

Imports mmdet when it is built; a config asks for it with
``custom_imports = dict(imports=['eclip_mm.evaluation.proposals.mmdet_proposer'])``.
"""

import numpy as np
import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

from eclip_mm.checkpoint import safe_loading
from eclip_mm.config.detection import fill_architecture
from eclip_mm.registry import TASK_UTILS


@TASK_UTILS.register_module()
class MMDetProposer:
    """The best boxes of a detector, regardless of their class.

    The detector's own test pipeline scales the picture that the grounding
    model sees, and the boxes are in pixels of that picture. The detector is
    built in mmdet's scope; afterwards the evaluation's scope is restored.

    Args:
        config: mmdet config of an RPN or detector: a path, or
            ``mmdet::rpn/rpn_r50_fpn_1x_coco.py``.
        checkpoint: weights of the detector; None gives random weights, for
            tests.
        num_proposals: maximal number of boxes.
        device: defaults to the GPU if there is one.
        cfg_options: dotted key -> value, for the config.
    """

    def __init__(
        self,
        config: str,
        checkpoint: str | None,
        num_proposals: int = 100,
        device: str | None = None,
        cfg_options: dict | None = None,
    ) -> None:
        safe_loading.install()
        self.num_proposals = num_proposals
        device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
        cfg = Config.fromfile(config) if '::' not in str(config) else _of_package(config)
        cfg.merge_from_dict(cfg_options or {})
        fill_architecture(cfg.model)
        with DefaultScope.overwrite_default_scope('mmdet'):
            # with a palette given, it does not read the detector's test set, which may be missing
            self.detector = init_detector(cfg, checkpoint, palette='random', device=device)
            pipeline = get_test_pipeline_cfg(cfg.copy())
            pipeline[0].type = 'mmdet.LoadImageFromNDArray'
            self.pipeline = Compose(pipeline)

    def __call__(self, sample: dict, image) -> np.ndarray:
        """Propose boxes.

        Args:
            sample: only names the product in an error.
            image: (3, H, W) uint8 RGB.

        Returns:
            (K, 4) xyxy pixels, K <= num_proposals, the best first.

        Raises:
            ValueError: there is no picture.
        """
        if image is None:
            raise ValueError(
                'MMDetProposer needs the picture of product '
                f"{sample.get('product_id')!r}: evaluate with a loader's batches"
            )
        picture = np.ascontiguousarray(np.asarray(image).transpose(1, 2, 0)[..., ::-1])  # BGR
        with DefaultScope.overwrite_default_scope('mmdet'):
            found = inference_detector(self.detector, picture, self.pipeline).pred_instances
        best = found.scores.argsort(descending=True, stable=True)[: self.num_proposals]
        return found.bboxes[best].cpu().numpy().astype(np.float64)


def _of_package(config: str) -> Config:
    """Load a config from mmdet's package, such as ``mmdet::rpn/rpn_r50_fpn_1x_coco.py``."""
    from mmengine.hub import get_config

    return get_config(config)
