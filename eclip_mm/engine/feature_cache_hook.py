"""Compares a feature cache with the model before anything is computed from it."""

from dataclasses import replace

from mmengine.hooks import Hook

from eclip_mm.datasets.feature_cache.store import read_card
from eclip_mm.models.feature_card import take_features
from eclip_mm.registry import HOOKS
from eclip_mm.utils.dist import unwrap_model


@HOOKS.register_module()
class FeatureCacheHook(Hook):
    """Lets the model take the features of a cache, after its weights have been loaded.

    ``feature_cache`` of a config adds this hook.

    Args:
        folder: of the cache.

    Raises:
        CacheError: the features are of other weights, another layer group, mean or standard
            deviation.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def _compare(self, runner) -> None:
        card = read_card(self.folder)
        found = take_features(unwrap_model(runner.model), card.picture_size)
        # in which precision they were computed is the user's choice
        card.check(replace(found, precision=card.precision), self.folder)

    def before_train(self, runner) -> None:
        """Before the first step, since a resumed training has loaded its weights now."""
        self._compare(runner)

    before_val = before_test = before_train
