"""Matching of queries with products, group by group."""

import torch
from mmdet.models.task_modules.assigners import AssignResult, HungarianAssigner

from scipy.optimize import linear_sum_assignment

from eclip_mm.registry import TASK_UTILS


@TASK_UTILS.register_module()
class GroupHungarianAssigner(HungarianAssigner):
    """mmdet's Hungarian matching, for several groups of queries.

    Chen et al., Group DETR (ICCV 2023): in training, each of K groups of
    queries is matched with all products of a picture, so that a product
    teaches K queries. The costs are computed once for all groups.

    Args:
        match_costs: see mmdet's ``HungarianAssigner``.
        num_queries: size of a group; None for one group of all queries.
    """

    def __init__(self, match_costs, num_queries: int | None = None):
        super().__init__(match_costs)
        self.num_queries = num_queries

    def assign(self, pred_instances, gt_instances, img_meta=None, **kwargs) -> AssignResult:
        """As in mmdet; the predictions are whole groups, one after the other."""
        count, labels = len(pred_instances), gt_instances.labels
        if not len(labels) or not count:
            return super().assign(pred_instances, gt_instances, img_meta, **kwargs)
        costs = sum(
            cost(pred_instances=pred_instances, gt_instances=gt_instances, img_meta=img_meta)
            for cost in self.match_costs
        )
        costs = costs.detach().cpu()
        if not costs.isfinite().all():
            raise ValueError(
                'costs of the matching are not finite: the training diverged, so lower the '
                'learning rate'
            )
        found = torch.zeros(count, dtype=torch.long)
        size = self.num_queries or count
        for start in range(0, count, size):
            rows, columns = linear_sum_assignment(costs[start : start + size])
            found[start + torch.from_numpy(rows)] = torch.from_numpy(columns) + 1
        found = found.to(labels.device)
        assigned = torch.where(found > 0, labels[found - 1], -1)
        return AssignResult(len(labels), found, max_overlaps=None, labels=assigned)
