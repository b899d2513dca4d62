"""Compares a feature cache with the model before anything is computed from it."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from mmengine.hooks import Hook
from torch import nn

from eclip_mm.datasets.feature_cache import CacheError, read_card
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
            deviation; or the model is sharded.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._compared: tuple | None = None

    def _compare(self, runner) -> None:
        if hasattr(runner.model, 'unshard'):
            raise CacheError(
                'ShardedRunner cannot read a feature cache, since each rank has only a part of '
                'the frozen weights: remove runner_type or feature_cache from the config'
            )
        card = read_card(self.folder)
        model = unwrap_model(runner.model)
        state = (card, *_state(model))
        if state == self._compared:  # a validation of the same training
            return
        found = take_features(model, card.picture_size)
        # in which precision they were computed is the user's choice
        card.check(replace(found, precision=card.precision), self.folder)
        self._compared = (card, *_state(model))

    def before_train(self, runner) -> None:
        """Before the first step, since a resumed training has loaded its weights now."""
        self._compare(runner)

    before_val = before_test = before_train


def _state(model: nn.Module) -> Iterator:
    """What the comparison depends on: its frozen tensors, and how often each was written to."""
    encoder = model.network.image_encoder
    yield id(encoder.boundary)
    for group in encoder.layer_groups()[: encoder.num_frozen]:
        for value in chain(group.parameters(), *(m.buffers() for m in group.modules)):
            yield id(value), value._version
    for value in model.data_preprocessor.buffers():
        yield id(value), value._version
