"""A hook that draws what the model finds, after each validation."""

from functools import partial

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from torch.utils.data import Subset

from eclip_mm.apis.prediction import split_datasets
from eclip_mm.apis.retrieval import NothingToFind, keep_feature, sheet_of_samples
from eclip_mm.apis.score_maps import draw_score_maps
from eclip_mm.apis.stored_pictures import picture_or_input
from eclip_mm.registry import HOOKS
from eclip_mm.utils.dist import unwrap_model
from eclip_mm.utils.spread import spread_indices


@HOOKS.register_module()
class PictureHook(Hook):
    """Draws score maps and retrieval sheets after each validation.

    Photos and queries are spread evenly over each split of the validation set
    and are the same every time. The sheets go to the runner's visualizer as
    ``score_maps_{split}`` and ``retrieval_{split}`` at the training step.
    ``LocalVisBackend`` saves them in ``vis_data/vis_image``, and TensorBoard
    shows them with a slider over the steps. Only the main rank draws, and the
    training's random state does not change. To switch it on::

        custom_hooks = [dict(type='ProgressBarHook'), dict(type='PictureHook')]

    Args:
        num_photos: number of score maps per split; 0 for none.
        num_queries: number of queries per split; 0 for none. They search the
            pictures that the validation has already encoded; with several
            ranks, those of the main rank.
        candidates: ``candidates`` of ``ProductGrounding``, to rank other boxes
            than the validation's metric does.
        protocol, feature: as in :func:`~eclip_mm.apis.draw_retrieval`.
        interval: number of validations from one drawing to the next.
    """

    priority = 'LOW'

    def __init__(
        self,
        num_photos: int = 6,
        num_queries: int = 4,
        candidates: str | dict | None = None,
        protocol: str = 'fine',
        feature: str = 'pred_instance_feat',
        interval: int = 1,
    ):
        if interval < 1:
            raise ValueError(f'PictureHook: interval is at least 1, got {interval}')
        self.num_photos = num_photos
        self.num_queries = num_queries
        self.candidates = candidates
        self.protocol = protocol
        self.feature = feature
        self.interval = interval
        self._count = 0  # validations begun
        self._seen = []

    def before_val_epoch(self, runner) -> None:
        self._count += 1
        self._due = is_main_process() and self._count % self.interval == 0
        self._seen = []

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self._due and self.num_queries:
            self._seen += [keep_feature(sample, self.feature) for sample in outputs]

    def after_val_epoch(self, runner, metrics=None) -> None:
        if self._due and self.num_photos:
            self._draw_score_maps(runner)
        if self._seen:
            self._draw_retrieval(runner)
        self._seen = []  # free the gallery's memory before the training continues

    def _draw_score_maps(self, runner) -> None:
        model = unwrap_model(runner.model)
        for split, dataset in split_datasets(runner.val_dataloader.dataset).items():
            sheet = draw_score_maps(
                model,
                dataset,
                spread_indices(len(dataset), self.num_photos),
                title=f'{split} step {runner.iter}'.strip(),
                evaluator=runner.val_loop.evaluator.metrics,
                candidates=self.candidates,
                names_from=runner.val_dataloader.dataset,
            )
            self._show(runner, 'score_maps', split, sheet)

    def _draw_retrieval(self, runner) -> None:
        order, start = list(runner.val_dataloader.sampler), 0
        for split, dataset in split_datasets(runner.val_dataloader.dataset).items():
            seen = {
                index - start: sample
                for index, sample in zip(order, self._seen, strict=True)
                if start <= index < start + len(dataset)
            }
            start += len(dataset)
            pictures = Subset(dataset, list(seen))
            try:
                sheet = sheet_of_samples(
                    list(seen.values()),
                    partial(picture_or_input, pictures),
                    self.num_queries,
                    protocol=self.protocol,
                    feature=self.feature,
                    title=f'{split} step {runner.iter}'.strip(),
                )
            except NothingToFind as error:
                runner.logger.warning(f'PictureHook, split {split!r}: {error}')
            else:
                self._show(runner, 'retrieval', split, sheet)

    @staticmethod
    def _show(runner, kind: str, split: str, sheet) -> None:
        name = f'{kind}_{split}' if split else kind
        runner.visualizer.add_image(name, np.asarray(sheet), step=runner.iter)
