"""``Eclip.detect``: the objects of a trained detector as plain dicts."""

from collections.abc import Sequence
from pathlib import Path

import torch

from eclip_mm.apis.input_pictures import Item
from eclip_mm.apis.model_sources import LoadedModel
from eclip_mm.apis.tasks import Run
from eclip_mm.config import read_saved_detector
from eclip_mm.utils.env_check import check_detection
from eclip_mm.utils.files import sha256_of


def holds_detector(source: str | Path) -> bool:
    """Whether a file is the checkpoint of a detector."""
    if not Path(source).is_file():
        return False
    model = read_saved_detector(str(source)) or {}
    return 'backbone' in model and 'image_encoder' not in model


def load_detector(source: str | Path, device: torch.device) -> tuple['DetectorTasks', LoadedModel]:
    """A detector and what its inputs go through.

    Raises:
        EnvironmentCheckError: mmdet is not installed.
        ValueError: see :class:`~eclip_mm.models.detection.trained.TrainedDetector`.
    """
    check_detection()
    from eclip_mm.models.detection.trained import TrainedDetector  # it imports mmdet

    detector = TrainedDetector(source, device)
    return DetectorTasks(detector), LoadedModel(
        model=detector.model,
        config={},
        pictures=[dict(type='LoadProductImages')],
        tokenize=None,
        checkpoint=dict(name=Path(source).name, sha256=sha256_of(source)),
    )


class DetectorTasks:
    """The only task of a detector, as those of :class:`~eclip_mm.apis.tasks.ModelTasks`.

    Args:
        detector: gives name, score and box of each object in a picture.
    """

    kind, embed_dims = 'a detector', None

    def __init__(self, detector) -> None:
        self.detector = detector

    def use_negatives(self, names: Sequence[str]) -> None:
        """
        Raises:
            ValueError: a detector has no queries.
        """
        raise ValueError('a detector has no negative queries: leave negatives out')

    def detect(
        self,
        score_thr: float = 0.3,
        top_k: int | None = None,
        names: Sequence[str] | None = None,
    ) -> Run:
        """``width``, ``height`` and ``objects``."""
        unknown = sorted(set(names or ()) - set(self.detector.names))
        if unknown:
            raise ValueError(
                f'the detector has no class {unknown[0]!r}; it has '
                f'{", ".join(self.detector.names)}'
            )

        def run(items: list[Item]) -> list[dict]:
            results = []
            for item in items:  # one by one: padding to a batch would change what is found
                picture = item.picture.pixels.permute(1, 2, 0).numpy()
                found = [
                    dict(name=name, score=score, box=[round(value, 2) for value in box])
                    for name, score, box in self.detector(picture)
                    if score >= score_thr and (names is None or name in names)
                ]
                width, height = item.picture.size
                results.append(dict(width=width, height=height, objects=found[:top_k]))
            return results

        return run
