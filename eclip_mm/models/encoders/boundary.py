"""A tower in two parts: what is frozen below a layer, and what is computed from its output."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from eclip_mm.models.encoders.convolutional import lay_out


class FrozenBoundary:
    """Splits an image tower behind its last frozen layer group.

    The features at the boundary are those that a cache stores: the output of the last frozen
    group, or of the whole model where all of it is frozen.

    Args:
        encoder: a :class:`TransformersImageEncoder` with frozen layer groups.
        picture_size: (height, width) of the pictures.

    Attributes:
        name: of the last frozen group.
        feature_shape: of one picture, (N, C) for a tower of tokens, (C, h, w) for a
            convolutional one.

    Raises:
        ValueError: nothing is frozen, or the tower cannot be continued from this boundary.
    """

    def __init__(self, encoder: nn.Module, picture_size: tuple[int, int]) -> None:
        groups, num_frozen = encoder.layer_groups(), encoder.num_frozen
        if num_frozen == 0:
            raise ValueError(
                "features can only be cached of a frozen tower: set model.freeze.image to 'all' "
                'or to a number of layer groups'
            )
        self.model = encoder.model
        self.picture_size = tuple(picture_size)
        self.is_whole = num_frozen == len(groups)
        self.name = 'all' if self.is_whole else groups[num_frozen - 1].name
        self._head = encoder.pooling_head()
        frozen = [module for group in groups[:num_frozen] for module in group.modules]
        self._frozen = [] if self.is_whole else list(_called(frozen))
        self._makes_tuple: dict[nn.Module, bool] = {}
        self._last = self.model
        was_training = encoder.training
        encoder.eval()
        try:
            self._probe()
        finally:
            encoder.train(was_training)

    def _probe(self) -> None:
        """Find where the features leave the frozen part, and see that the rest continues there."""
        order = []

        def note(module, inputs, outputs):
            order.append(module)
            self._makes_tuple[module] = isinstance(outputs, tuple)

        hooks = [module.register_forward_hook(note) for module in self._frozen]
        param = next(self.model.parameters())
        images = torch.randn(
            2, 3, *self.picture_size, generator=torch.Generator().manual_seed(0)
        ).to(param.device)
        try:
            with torch.no_grad():
                # in the layout of `below`: another one rounds otherwise
                wanted = self.model.forward(pixel_values=lay_out(self.model, images))
                wanted = wanted.last_hidden_state
        finally:
            for hook in hooks:
                hook.remove()
        if not self.is_whole:
            self._last = order[-1]
        features = self.below(images)
        self.feature_shape = tuple(features.shape[1:])
        try:
            with torch.no_grad():
                found = self.above(features).last_hidden_state
            is_same = torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)
        except (ValueError, RuntimeError, TypeError):
            is_same = False
        if not is_same:
            raise ValueError(
                f'{type(self.model).__name__} cannot be continued behind {self.name!r}: its upper '
                "layers read more than the output of the layer below. Set model.freeze.image='all'"
            )

    def is_features(self, images: Tensor) -> bool:
        """Whether a batch (B, ...) holds features of this boundary instead of pictures."""
        return tuple(images.shape[1:]) == self.feature_shape

    @torch.no_grad()
    def below(self, images: Tensor) -> Tensor:
        """Features of (B, 3, H, W) normalised pictures; the layers above are not computed."""
        images = lay_out(self.model, images)
        if self.is_whole:  # `forward`: not a compiled model, for which this would be a new shape
            return self.model.forward(pixel_values=images).last_hidden_state
        with _stop_behind(self._last) as reached:
            self.model.forward(pixel_values=images)
        return reached[0]

    def above(self, features: Tensor) -> BaseModelOutputWithPooling:
        """What the model gives for pictures with these features (B, ...)."""
        if self.is_whole:
            pooled = None if self._head is None else self._head(features)
            return BaseModelOutputWithPooling(last_hidden_state=features, pooler_output=pooled)
        # the pictures tell the model their size (rotary positions); no other part reads them
        images = features.new_zeros(1, 3, *self.picture_size).expand(len(features), -1, -1, -1)
        with self._bypassed(lay_out(self.model, features)):
            return self.model.forward(pixel_values=images)

    @contextmanager
    def _bypassed(self, features: Tensor) -> Iterator[None]:
        """Let each frozen module return the features, in the form of its own output."""

        def as_tuple(*_, **__):
            return (features,)

        def as_tensor(*_, **__):
            return features

        for module in self._frozen:
            module.forward = as_tuple if self._makes_tuple[module] else as_tensor
        try:
            yield
        finally:
            for module in self._frozen:
                del module.forward


def _called(modules: list[nn.Module]) -> Iterator[nn.Module]:
    """The modules that a forward pass calls, without those that make no features.

    A list of modules is never called itself. What has no parameters (dropout, rotary positions)
    works as it is.
    """
    for module in modules:
        if isinstance(module, nn.ModuleList):
            yield from _called(list(module))
        elif next(module.parameters(), None) is not None:
            yield module


class _Reached(Exception):
    """Ends a forward pass early."""


@contextmanager
def _stop_behind(module: nn.Module) -> Iterator[list[Tensor]]:
    """End the forward pass inside the block behind ``module``; its output is in the list."""
    reached = []

    def stop(_, inputs, outputs):
        reached.append(outputs[0] if isinstance(outputs, tuple) else outputs)
        raise _Reached

    hook = module.register_forward_hook(stop)
    try:
        yield reached
    except _Reached:
        pass
    finally:
        hook.remove()
