"""``Eclip`` called as OpenMMLab's inferencers are."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from mmengine.infer import BaseInferencer
from mmengine.structures import BaseDataElement
from PIL import Image, ImageDraw
from tqdm import tqdm

from eclip_mm.apis.eclip import TASKS, Eclip
from eclip_mm.apis.input_pictures import SUFFIXES, PictureReader
from eclip_mm.registry import INFERENCERS
from eclip_mm.visualization import overlay_score_map
from eclip_mm.visualization.canvas import ORANGE, draw_frame, draw_tags, to_pil


@INFERENCERS.register_module()
class EclipInferencer(BaseInferencer):
    """An inferencer of mmengine over :class:`~eclip_mm.Eclip`.

    Args:
        weights: checkpoint, or folder of ``tools/export.py``; both have their config.
        task: ``encode``, ``embed``, ``locate``, ``classify`` or ``detect``.
        device: such as ``cuda:1``; None for a GPU if there is one.
        show_progress: whether to show a progress bar.
        options: further arguments of :class:`~eclip_mm.Eclip`.

    Raises:
        ValueError: an unknown task.
    """

    forward_kwargs = {'names', 'top_k', 'maps', 'negatives', 'boxes_of', 'template', 'score_thr'}
    visualize_kwargs = {'return_vis'}
    postprocess_kwargs = {'out_dir'}

    def __init__(
        self,
        weights: str | Path,
        task: str = 'locate',
        device: str | None = None,
        show_progress: bool = True,
        **options,
    ) -> None:
        # not that of the base, which builds a model, its pipeline and collate function
        if task not in TASKS:
            raise ValueError(f'task is one of {", ".join(TASKS)}, got {task!r}')
        self.scope, self.task, self.show_progress = 'eclip_mm', task, show_progress
        self.eclip = Eclip(weights, device=device, **options)
        self._upright = PictureReader([dict(type='LoadProductImages')])

    def __call__(
        self, inputs, return_datasamples: bool = False, batch_size: int = 32, **kwargs
    ) -> dict:
        """
        Args:
            inputs: as of the method of the task; one or a list, or a folder of pictures.
            return_datasamples: whether predictions are ``BaseDataElement`` instead of dicts.
            batch_size: number of inputs at a time.
            kwargs: arguments of the method of the task, such as ``names``; ``return_vis``,
                whether to draw what ``locate`` or ``detect`` found; ``out_dir``, a folder for
                ``preds/{number}.json`` and ``vis/{number}.png``.

        Returns:
            ``predictions``, a list of what the method gives, and ``visualization``, a list of
            (H, W, 3) uint8 RGB pictures, empty without ``return_vis``.

        Raises:
            ValueError: an unknown argument.
        """
        _, options, drawing, writing = self._dispatch_kwargs(**kwargs)
        inputs = self._inputs_to_list(inputs)
        found = self.eclip.stream(inputs, self.task, batch_size, **options)
        shown = tqdm(found, total=len(inputs), disable=not self.show_progress, unit='input')
        predictions = list(shown)
        pictures = self.visualize(inputs, predictions, **drawing)
        return self.postprocess(predictions, pictures, return_datasamples, **writing)

    def visualize(
        self, inputs: list, preds: list[dict], return_vis: bool = False
    ) -> list[np.ndarray]:
        """The pictures with what was found in them, at the size that they are seen in.

        Raises:
            ValueError: the task finds no boxes.
        """
        if not return_vis:
            return []
        if self.task not in ('locate', 'detect'):
            raise ValueError(
                f'{self.task} finds no boxes that could be drawn: leave return_vis out'
            )
        return [self._draw(*pair) for pair in zip(inputs, preds, strict=True)]

    def postprocess(
        self,
        preds: list[dict],
        visualization: list[np.ndarray],
        return_datasamples: bool = False,
        out_dir: str | Path | None = None,
    ) -> dict:
        """Write and pack what was found."""
        if out_dir is not None:
            self._write(Path(out_dir), preds, visualization)
        if return_datasamples:
            preds = [BaseDataElement(metainfo=pred) for pred in preds]
        return dict(predictions=preds, visualization=visualization)

    def _inputs_to_list(self, inputs) -> list:
        if isinstance(inputs, (str, Path)) and Path(inputs).is_dir():
            files = sorted(Path(inputs).iterdir())
            return [str(file) for file in files if file.name.lower().endswith(SUFFIXES)]
        return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]

    def _init_pipeline(self, cfg):
        return None  # Eclip has its own

    def _draw(self, value, pred: dict) -> np.ndarray:
        if 'error' in pred:
            return np.zeros((1, 1, 3), np.uint8)
        picture = to_pil(self._upright(value).pixels)
        products = pred.get('products', [])
        maps = [product['map'] for product in products if 'map' in product]
        if maps:
            picture = overlay_score_map(picture, np.max(maps, axis=0))
        boxes = [found['box'] for product in products for found in product['boxes']]
        boxes += [found['box'] for found in pred.get('objects', [])]
        draw = ImageDraw.Draw(picture)
        for box in boxes:
            draw_frame(draw, box, ORANGE)
        draw_tags(draw, boxes, [ORANGE] * len(boxes))
        return np.asarray(picture)

    def _write(self, folder: Path, preds: Iterable[dict], pictures: list[np.ndarray]) -> None:
        for kind in ('preds', *(['vis'] if pictures else [])):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        for number, pred in enumerate(preds):
            text = json.dumps(pred, ensure_ascii=False)
            (folder / f'preds/{number}.json').write_text(text, encoding='utf-8')
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(folder / f'vis/{number}.png')
