"""From the towers into the joint space: g_I, g_T, and what maps patch tokens."""

from torch import Tensor, nn

from eclip_mm.models.encoders.families import check_choice

PROJECTIONS = ('linear', 'linear_no_bias', 'norm_linear', 'none')
PATCH_PROJECTIONS = ('shared', 'separate', 'head')


class NormLinear(nn.Linear):
    """A linear map of LayerNorm's output.

    Convolutional towers end without a norm: their channels differ in size by far more than the
    tokens do, and a linear map learns slowly from them.
    """

    def __init__(self, in_dims: int, out_dims: int):
        super().__init__(in_dims, out_dims)
        self.norm = nn.LayerNorm(in_dims)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., ``out_dims``) of (..., ``in_dims``)."""
        return super().forward(self.norm(tokens))


def build_projection(kind: str, name: str, in_dims: int, out_dims: int) -> nn.Module:
    """g_I or g_T.

    Args:
        kind: one of :data:`PROJECTIONS`.
        name: ``image`` or ``text``, for messages.
        in_dims: width of the tower.
        out_dims: joint width D.

    Raises:
        ValueError: an unknown kind, or none between different widths.
    """
    check_choice(f'projections.{name}', kind, PROJECTIONS)
    if kind == 'norm_linear':
        return NormLinear(in_dims, out_dims)
    if kind != 'none':
        return nn.Linear(in_dims, out_dims, bias=kind == 'linear')
    if in_dims != out_dims:
        raise ValueError(
            f"projections.{name}='none' leaves the tower's width {in_dims}, but embed_dims is "
            f'{out_dims}'
        )
    return nn.Identity()


def projection_kind(projection: nn.Module) -> str:
    """The :data:`PROJECTIONS` that would build it."""
    if isinstance(projection, nn.Identity):
        return 'none'
    if isinstance(projection, NormLinear):
        return 'norm_linear'
    return 'linear_no_bias' if getattr(projection, 'bias', None) is None else 'linear'


class PatchProjection(nn.Module):
    """Maps patch tokens into the joint space, Z = g(v_i).

    - ``shared``: g_I itself, as the paper has it. Of a CLIP it is the
      reference's projection on every token after the last norm: the only
      linear map there is, trained for the class token.
    - ``separate``: a linear map of its own, which begins as a copy of g_I
      where g_I is linear, else with random weights.
    - ``head``: each token goes through the tower's pooling head by itself
      (SigLIP): the value and output projection of its attention, and its MLP;
      then g_I.

    The default is ``shared``. Where there is no g_I to share (a whole SigLIP)
    it is ``separate``, and ``head`` in a model without decoder, which trains
    no map of patch tokens.

    Args:
        kind: one of these; None for the default.
        image_encoder: the tower.
        image_proj: g_I.
        embed_dims: joint width D.
        is_trained: whether a loss uses patch tokens.

    Raises:
        ValueError: a kind that is unknown or that the tower does not have.
    """

    def __init__(
        self,
        kind: str | None,
        image_encoder: nn.Module,
        image_proj: nn.Module,
        embed_dims: int,
        is_trained: bool,
    ):
        super().__init__()
        without = isinstance(image_proj, nn.Identity)
        self.kind = kind or ('shared' if not without else 'separate' if is_trained else 'head')
        check_choice('patch_projection', self.kind, PATCH_PROJECTIONS)
        if self.kind == 'shared' and without:
            raise ValueError(
                "patch_projection='shared': this model has no linear g_I that patch tokens could "
                "share; take 'separate' or 'head'"
            )
        if self.kind == 'head' and getattr(image_encoder, 'pooling', None) != 'attention':
            raise ValueError(
                "patch_projection='head' needs an image encoder with pooling='attention', such as "
                "SigLIP's; take 'shared' or 'separate'"
            )
        if self.kind == 'separate':
            kind = 'linear' if without else projection_kind(image_proj)
            self.linear = build_projection(kind, 'image', image_encoder.embed_dims, embed_dims)
            if not without:
                self.linear.load_state_dict(image_proj.state_dict())
            self.linear.requires_grad_(is_trained)

    def forward(
        self, patch_tokens: Tensor, image_encoder: nn.Module, image_proj: nn.Module
    ) -> Tensor:
        """
        Args:
            patch_tokens: (B, N, C).
            image_encoder, image_proj: of the network: they are no parts of
                this module, so that their weights have one name.

        Returns:
            Z (B, N, D).
        """
        if self.kind == 'separate':
            return self.linear(patch_tokens)
        if self.kind == 'head':
            patch_tokens = image_encoder.pool_each(patch_tokens)
        return image_proj(patch_tokens)
