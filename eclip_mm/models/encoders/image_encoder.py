"""Vision models of ``transformers``."""

import inspect
import math
import warnings
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from eclip_mm.models.encoders.boundary import FrozenBoundary
from eclip_mm.models.encoders.building import TransformersEncoder, build_transformers_model
from eclip_mm.models.encoders.conv_stem import replace_conv_padding, replace_patch_projection
from eclip_mm.models.encoders.convolutional import lay_out, set_output_stride
from eclip_mm.models.encoders.families import (
    IMAGE_FAMILIES,
    IMAGE_POOLING,
    ImageRule,
    check_choice,
)
from eclip_mm.models.encoders.patch_dropout import PatchDropout
from eclip_mm.models.encoders.picture_size import (
    check_cover,
    check_patches,
    check_sides,
    covered_size,
    find_width,
)
from eclip_mm.models.encoders.preprocessing import Preprocessing, read_preprocessing
from eclip_mm.models.encoders.smoothing import smooth
from eclip_mm.registry import MODELS


@MODELS.register_module()
class TransformersImageEncoder(TransformersEncoder):
    """Vision model of ``transformers``: v_cls and v_1..v_N of Section 3.1.

    Args:
        model_type, config, pretrained, allow_download: see
            :func:`build_transformers_model`. Of a dual encoder such as CLIP,
            only the vision model is used.
        gradient_checkpointing: recompute activations in the backward pass.
        conv_stem: channels of 3x3 convolutions of stride 2 that take the place
            of a ViT's single patch projection, see :class:`ConvStem`; None
            keeps the projection.
        conv_padding: ``reflect`` or ``replicate`` instead of zeros for a
            convolutional encoder trained from scratch on small pictures: of 8 x
            8 tokens 28 lie at the border, and a frame of zeros is a feature
            that the score map falls for. None keeps the model's own.
        pooling: what v_cls is, a key of :data:`IMAGE_POOLING`; None for the
            family's own.
        preprocessing: ``mean``, ``std`` and ``size`` of the pictures that the
            tower was trained on, and their ``source``; None for what
            ``pretrained`` says.
        model: a tower that is built already; ``pretrained`` is then where its
            other files are.
        norm_eval: keep batch norms in eval mode in training as well, so that
            the statistics of a pretrained tower stay: those of a small batch
            are worse.
        patch_dropout: fraction of the patches of each picture that training
            leaves out behind the embeddings of a ViT, see
            :class:`PatchDropout`. The momentum model sees all of them.
        output_stride: pixels of a token of a convolutional tower, such as 16
            instead of 32, see :func:`set_output_stride`; None for its own. A
            trained model may be given another one at test.
        smooth_tokens: side of the window, an odd number of tokens, over which
            each patch token is averaged; 1 leaves them. The class token
            comes from tokens that are not averaged.

    Attributes:
        embed_dims: width of class and patch tokens.
        patch_size: pixels, None where the config does not say.
        preprocessing: a :class:`Preprocessing`; None where it is not known.

    Raises:
        ValueError: a family without a rule and no ``pooling``, or one that
            the model cannot give; an ``image_size`` that is no multiple of
            ``patch_size``; ``patch_dropout`` for a model that needs the whole
            grid; an ``output_stride`` that the model cannot have; or an even
            ``smooth_tokens``.
    """

    def __init__(
        self,
        model_type: str | None = 'vit',
        config: dict | None = None,
        pretrained: str | None = None,
        allow_download: bool = False,
        gradient_checkpointing: bool = False,
        conv_stem: tuple[int, ...] | None = None,
        conv_padding: str | None = None,
        pooling: str | None = None,
        preprocessing: dict | None = None,
        model: nn.Module | None = None,
        norm_eval: bool = False,
        patch_dropout: float = 0.0,
        output_stride: int | None = None,
        smooth_tokens: int = 1,
    ):
        if model is None:
            model = build_transformers_model(
                model_type, config, pretrained, allow_download, tower='vision'
            )
        super().__init__(model, gradient_checkpointing)
        cfg = self.model.config
        self.conv_stem, self.conv_padding = conv_stem, conv_padding
        if conv_stem:
            replace_patch_projection(self.model, conv_stem)
        if conv_padding:
            replace_conv_padding(self.model, conv_padding)
        self.output_stride = output_stride
        if output_stride is not None:
            set_output_stride(self.model, output_stride)
        if smooth_tokens < 1 or smooth_tokens % 2 == 0:
            raise ValueError(
                f'image_encoder.smooth_tokens={smooth_tokens!r} is the side of a window around '
                'each token: set it to an odd number, such as 3, or to 1 for none'
            )
        self.smooth_tokens = smooth_tokens
        rule = IMAGE_FAMILIES.get(cfg.model_type, ImageRule(None))
        self.pooling = pooling or rule.pooling
        if self.pooling is None:
            raise ValueError(
                f'image model {cfg.model_type!r} is in no family of encoders/families.py: set '
                f"image_encoder.pooling, to 'cls' or another of {', '.join(IMAGE_POOLING)}"
            )
        check_choice('image_encoder.pooling', self.pooling, IMAGE_POOLING)
        parts = dict(norm=self.find_part(rule.norm), attention=self.find_part(rule.head))
        self._part = self._use_part(parts)
        self.embed_dims = find_width(self.model)
        self.patch_size = check_patches(cfg)
        self.is_pyramid = hasattr(cfg, 'depths')
        # of a pyramid `patch_size` is that of its first stage
        self._token_size = rule.stride or (None if self.is_pyramid else self.patch_size)
        self.interpolates = (
            'interpolate_pos_encoding' in inspect.signature(self.model.forward).parameters
        )
        self.preprocessing = None
        if preprocessing is not None:
            self.preprocessing = Preprocessing(**preprocessing)
        elif pretrained is not None:
            self.preprocessing = read_preprocessing(pretrained, allow_download)
        if self.preprocessing is not None:
            size = covered_size(self.preprocessing.size, cfg)
            self.preprocessing = replace(self.preprocessing, size=size)
        self._size_is_checked = False
        self.norm_eval = norm_eval
        self.boundary: FrozenBoundary | None = None
        if patch_dropout and not rule.is_plain:
            raise ValueError(
                f'image_encoder.patch_dropout={patch_dropout!r} is for plain ViTs; '
                f'{cfg.model_type!r} needs all patches of the grid, or is in no family of '
                'encoders/families.py: set it to 0'
            )
        self.patch_dropout = PatchDropout(patch_dropout, self.model)

    def train(self, mode: bool = True):
        """As its base, but with batch norms in eval mode if ``norm_eval``."""
        super().train(mode)
        for module in self.modules() if self.norm_eval else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def _use_part(self, parts: dict[str, str | None]) -> str | None:
        """Name of the norm or head of the pooling; parts without a use are frozen.

        DDP waits for the gradient of every trained parameter.
        """
        kind = self.pooling.split('_')[-1]
        if kind in parts and parts[kind] is None:
            raise ValueError(
                f'image_encoder.pooling={self.pooling!r}: {type(self.model).__name__} has no part '
                "for it; take 'cls' where there is a class token, else 'mean'"
            )
        unused = tuple(f'{name}.' for key, name in parts.items() if name and key != kind)
        for name, param in self.model.named_parameters():
            if name.endswith('mask_token') or name.startswith(unused):
                param.requires_grad_(False)
        return parts.get(kind)

    @property
    def side_multiple(self) -> int:
        """Pixels of which the sides of pictures are multiples, so that tokens cover them."""
        return self._token_size or 32

    def forward(
        self, images: Tensor, any_size: bool = False
    ) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """
        Args:
            images: (B, 3, H, W) normalised pictures; after
                :meth:`take_features` also features at the frozen boundary.
            any_size: interpolate the position embeddings where the pictures
                have another size than the config says, and let a pyramid
                (ConvNeXt, Swin) round its map. DINOv2 always interpolates; a
                ViT or CLIP refuses such pictures otherwise.

        Returns:
            class_token (B, C); patch_tokens (B, N, C), row by row; grid (h, w)
            with N = h * w, fewer in training with ``patch_dropout``.

        Raises:
            ValueError: the pictures' sides are no multiples of a token's: the
                map would be stretched over them.
        """
        is_features = self.boundary is not None and self.boundary.is_features(images)
        sides = self.boundary.picture_size if is_features else tuple(images.shape[-2:])
        grid, num_patches = None, 0
        if self._token_size:
            grid = tuple(side // self._token_size for side in sides)
            num_patches = grid[0] * grid[1]
        if is_features:
            outputs = self.boundary.above(images)
        else:
            if not any_size:
                self._compare_size(sides)
            if self._token_size and not (any_size and self.is_pyramid):
                check_sides(sides, self._token_size)
            options = dict(interpolate_pos_encoding=True) if any_size and self.interpolates else {}
            num_patches = self.patch_dropout.draw(images, num_patches)
            outputs = self.model(pixel_values=lay_out(self.model, images), **options)
            self.patch_dropout.done()
        tokens = outputs.last_hidden_state
        num_prefix = 0  # class token, registers
        if tokens.ndim == 4:  # convolutional: (B, C, h, w)
            grid = tuple(tokens.shape[-2:])
            tokens = tokens.flatten(2).transpose(1, 2)
        elif grid:
            num_prefix = tokens.shape[1] - num_patches
        else:
            grid = self._square_grid(sides, tokens.shape[1])
        if not self._token_size and not any_size:
            check_cover(sides, grid)
        if self.pooling.startswith('cls') and not num_prefix:
            raise ValueError(
                f'image_encoder.pooling={self.pooling!r}: {type(self.model).__name__} has no '
                "class token; set pooling='mean'"
            )
        if self.pooling == 'cls_norm':
            tokens = self.model.get_submodule(self._part)(tokens)
        patch_tokens = tokens[:, num_prefix:]
        if self.pooling == 'attention':
            class_token = outputs.pooler_output
        elif self.pooling.startswith('cls'):
            class_token = tokens[:, 0]
        else:
            class_token = patch_tokens.mean(dim=1)
        if self.pooling == 'mean_norm':
            norm = self.model.get_submodule(self._part)
            class_token, patch_tokens = norm(class_token), norm(patch_tokens)
        if self.smooth_tokens > 1:
            patch_tokens = smooth(patch_tokens, grid, self.smooth_tokens)
        return class_token, patch_tokens, grid

    def take_features(self, picture_size: tuple[int, int]) -> FrozenBoundary:
        """From now on accept features at the frozen boundary in the place of pictures.

        Args:
            picture_size: (height, width) of the pictures that the features are of.

        Raises:
            ValueError: see :class:`FrozenBoundary`; ``patch_dropout``, since
                the features are of all patches; or sides that are no multiples
                of a token's.
        """
        if self.patch_dropout.rate:
            raise ValueError(
                f'image_encoder.patch_dropout={self.patch_dropout.rate} cannot be used with '
                'feature_cache, whose features are of all patches: set one of them to 0 or None'
            )
        if self._token_size:
            check_sides(tuple(picture_size), self._token_size)
        self.boundary = FrozenBoundary(self, picture_size)
        return self.boundary

    def pooling_head(self) -> nn.Module | None:
        """The head of ``pooling='attention'``; None for another pooling."""
        return self.model.get_submodule(self._part) if self.pooling == 'attention' else None

    def pool_each(self, tokens: Tensor) -> Tensor:
        """What the head of ``attention`` would give of each token if it saw no other.

        Args:
            tokens: (B, N, C).

        Returns:
            (B, N, C) in the space of the class token.
        """
        head = self.pooling_head()
        attention = head.attention
        start = 2 * attention.embed_dim  # behind queries and keys
        values = F.linear(tokens, attention.in_proj_weight[start:], attention.in_proj_bias[start:])
        values = attention.out_proj(values)
        return values + head.mlp(head.layernorm(values))

    def freeze(self, groups: int | str, name: str = 'freeze') -> None:
        super().freeze(groups, name)
        if self.patch_dropout.rate and self.num_frozen == len(self.layer_groups()):
            raise ValueError(
                f'{name}={groups!r} freezes the whole tower, where '
                f'image_encoder.patch_dropout={self.patch_dropout.rate} only loses tokens: it '
                'saves time in layers that are trained. Set it to 0, or freeze fewer layer groups'
            )

    def freeze_head(self) -> None:
        """For a model that takes patch tokens alone: a pooling head would get no gradient."""
        if (head := self.pooling_head()) is not None:
            head.requires_grad_(False)

    def rules(self) -> dict:
        """What a config needs beside the architecture for the same features."""
        rules = dict(pooling=self.pooling)
        if self.preprocessing is not None:
            rules['preprocessing'] = self.preprocessing.to_dict()
        return rules

    def _compare_size(self, sides: tuple[int, int]) -> None:
        """Warn once of pictures of another size than those that the tower was trained on."""
        wanted = None if self.preprocessing is None else self.preprocessing.size
        if self._size_is_checked or wanted is None:
            return
        self._size_is_checked = True
        if tuple(wanted) != sides:
            warnings.warn(
                f'the pictures have {sides[0]} x {sides[1]} pixels, but '
                f'{self.preprocessing.source} says {wanted[0]} x {wanted[1]}',
                stacklevel=2,
            )

    def _square_grid(self, sides: tuple[int, int], num_tokens: int) -> tuple[int, int]:
        """Grid of a pyramid such as Swin, which gives the last stage without prefix."""
        side = math.isqrt(num_tokens)
        if side * side != num_tokens or sides[0] != sides[1]:
            raise ValueError(
                f'{type(self.model).__name__} gave {num_tokens} tokens for pictures of {sides}; '
                'only square pictures work with this model'
            )
        return side, side
