"""One joint width D for all parts of a model."""

import inspect

from eclip_mm.registry import MODELS


def with_embed_dims(cfg: dict, embed_dims: int, name: str) -> dict:
    """A component's config with the joint width of its model.

    Args:
        cfg: config of the component.
        embed_dims: joint width D of the model.
        name: where the config stands, such as ``pretext_heads.itm``.

    Raises:
        ValueError: ``cfg`` has another width.
    """
    given = cfg.get('embed_dims', embed_dims)
    if given != embed_dims:
        raise ValueError(
            f'{name}.embed_dims={given} contradicts model.embed_dims={embed_dims}; leave it out, '
            "the model's is used"
        )
    return dict(cfg, embed_dims=embed_dims)


def takes_embed_dims(cfg: dict) -> bool:
    """Whether the class of a component has an argument ``embed_dims``.

    A subclass that hands its ``**kwargs`` on to a class with this argument has
    it as well.
    """
    kind = cfg.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    for cls in inspect.getmro(kind) if inspect.isclass(kind) else ():
        if '__init__' not in vars(cls):
            continue
        parameters = inspect.signature(cls.__init__).parameters
        if 'embed_dims' in parameters:
            return True
        if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
            return False
    return False
