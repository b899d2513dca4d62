"""CandidateRecall against boxes counted by hand."""

import numpy as np
import pytest
import torch

from eclip_mm.evaluation.metrics import CandidateRecall
from eclip_mm.registry import TASK_UTILS
from helpers.samples import LEFT, RIGHT, run, sample

#: first the right half without one row of pixels (IoU 28 / 32), then exactly the left half
FOUND = [[4, 0, 8, 7], LEFT]


@pytest.fixture
def proposer():
    """A proposer, registered for one test, that gives FOUND for every photo."""

    @TASK_UTILS.register_module(name='Fixed', force=True)
    class Fixed:
        def __call__(self, sample, image):
            return np.array(FOUND, dtype=float)

    yield dict(type='Fixed')
    TASK_UTILS.module_dict.pop('Fixed')


def measure(proposer, samples, **kwargs):
    kwargs = dict(iou_thrs=(0.5, 0.9), counts=(1, 2), split='val', **kwargs)
    return run(dict(type='CandidateRecall', candidates=proposer, **kwargs), samples)


def test_recall_by_hand(proposer):
    samples = [
        sample('a', gt_bboxes=torch.tensor([RIGHT])),
        sample('b', gt_bboxes=torch.tensor([LEFT, [9, 0, 12, 8]])),  # one outside of the photo
        sample('c', gt_bboxes=torch.zeros(0, 4)),
        sample('d', gt_bboxes=torch.tensor([RIGHT]), split='other'),
    ]
    figures = measure(proposer, samples)
    assert figures['candidates/recall_num_boxes'] == 2
    wanted = {'0.5/1': 0.5, '0.5/2': 1.0, '0.9/1': 0.0, '0.9/2': 0.5}
    assert {key: figures[f'candidates/recall@{key}'] for key in wanted} == wanted


def test_without_boxes_there_are_no_figures(proposer):
    figures = measure(proposer, [sample('a')])
    assert figures == {'candidates/recall_num_boxes': 0}


def test_the_metric_needs_a_proposer():
    with pytest.raises(KeyError, match='Nothing'):
        CandidateRecall(dict(type='Nothing'))
