"""A trained detector for use, from its checkpoint alone."""

import copy
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS, TRANSFORMS
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope

import eclip_mm.models.detection  # noqa: F401  registers what configs/detection names
from eclip_mm.checkpoint.safe_loading import read_checkpoint
from eclip_mm.config.from_checkpoint import saved_pipeline, without_pretrained
from eclip_mm.utils.config_text import parse_config_text

#: scopes that a type in a stored config may name
SCOPES = ('eclip_mm', 'mmdet', 'mmcv', 'mmengine')


class TrainedDetector:
    """A detector of mmdet with the config and the class names that its checkpoint holds.

    Args:
        checkpoint: what ``tools/train.py`` wrote with a config of ``configs/detection``, or any
            checkpoint of mmdet with its config in it.
        device: of the model.

    Attributes:
        model: the detector in evaluation mode.
        names: of the classes.

    Raises:
        ValueError: the checkpoint has no config, class names or pipeline, its weights do not fit,
            or it names components by import paths.
    """

    def __init__(self, checkpoint: str | Path, device: torch.device) -> None:
        content = read_checkpoint(checkpoint)
        meta = content.get('meta') or {}
        saved = parse_config_text(meta.get('cfg') or '', f'{checkpoint}: its config')
        self.names = list((meta.get('dataset_meta') or {}).get('classes') or ())
        if not saved.get('model') or not self.names:
            raise ValueError(
                f'{checkpoint} is a detector without class names in it (meta.dataset_meta): use '
                'it through mmdet with its config, docs/detection.md'
            )
        pipeline = saved_pipeline(saved, 'pipeline', str(checkpoint))
        for part in (saved['model'], pipeline):
            _refuse_other_scopes(part, f'{checkpoint}: its config')
        register_all_modules(init_default_scope=False)
        with DefaultScope.overwrite_default_scope('mmdet'):
            self.model = MODELS.build(ConfigDict(_without_initial_weights(saved['model'])))
            try:
                self.model.load_state_dict(content['state_dict'])
            except RuntimeError as error:
                raise ValueError(f'{checkpoint}: its weights do not fit its config') from error
            # the picture is decoded already, and annotations are for evaluations
            steps = [step for step in pipeline[1:] if 'LoadAnnotations' not in step['type']]
            steps = [dict(type='mmdet.LoadImageFromNDArray'), *steps]
            self._pipeline = Compose([TRANSFORMS.build(step) for step in steps])
        self.model.to(device).eval()

    @torch.no_grad()
    def __call__(self, picture: np.ndarray) -> list[tuple[str, float, list[float]]]:
        """
        Args:
            picture: (H, W, 3) uint8 RGB, as it is seen.

        Returns:
            Name, score and xyxy box in pixels of the picture, the best first.
        """
        blue_first = np.ascontiguousarray(picture[..., ::-1])
        with DefaultScope.overwrite_default_scope('mmdet'):
            data = self._pipeline(dict(img=blue_first, img_id=0))
            found = self.model.test_step(pseudo_collate([data]))[0].pred_instances
        order = found.scores.argsort(descending=True, stable=True)
        rows = (found[name][order].tolist() for name in ('labels', 'scores', 'bboxes'))
        return [(self.names[label], score, box) for label, score, box in zip(*rows, strict=True)]


def _without_initial_weights(model: dict) -> dict:
    """A model's config that reads no other file: the checkpoint has all weights."""
    model = without_pretrained(copy.deepcopy(model))
    if 'class_prompts' in model:
        model['class_prompts'] = None
    for part in (model, *(value for value in model.values() if isinstance(value, dict))):
        part.pop('init_cfg', None)
    return model


def _refuse_other_scopes(node, name: str) -> None:
    """
    Raises:
        ValueError: a type is an import path, which mmengine would import and call.
    """
    if isinstance(node, dict):
        kind = node.get('type')
        scope, dot, rest = str(kind).partition('.')
        scopes = {node.get('_scope_', SCOPES[0]), scope if dot else SCOPES[0]}
        if '.' in rest or not scopes <= set(SCOPES):
            raise ValueError(f'{name}: type {kind!r} would import and call what the file names')
        node = node.values()
    elif not isinstance(node, (list, tuple)):
        return
    for part in node:
        _refuse_other_scopes(part, name)
