"""The parts of a tower in order, from the pixels or words to the feature.

Freezing and layer-wise learning rates count in these.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from torch import nn

#: attribute that holds a list of layers -> those that may hold lists inside of its items
LAYER_LISTS = {
    'stages': ('layers', 'blocks'),  # ConvNeXt, RegNet
    'layers': ('blocks',),  # Swin; all others have layers without lists
    'layer': (),
    'blocks': (),
    'h': (),  # GPT-2
    'albert_layer_groups': ('albert_layers',),  # one layer, which ALBERT applies several times
    'albert_layers': (),
}
#: parts that stand behind the layers and feed the first one
EARLY = ('relative_attention_bias',)


@dataclass
class LayerGroup:
    """A part of a tower that is frozen as a whole and has one learning rate.

    Attributes:
        name: ``embeddings``, ``layer 0``, ..., ``final``.
        modules: the modules of the group, with everything inside them.
        loose: further parameters of the group, which belong to a module
            around it.
    """

    name: str
    modules: list[nn.Module] = field(default_factory=list)
    loose: list[nn.Parameter] = field(default_factory=list)

    def parameters(self) -> Iterator[nn.Parameter]:
        """All its parameters."""
        return chain(self.loose, *(module.parameters() for module in self.modules))


def layer_groups(model: nn.Module) -> list[LayerGroup]:
    """All of a model of ``transformers``, in the order of its forward pass.

    Args:
        model: vision or text model. Its modules are registered in the order
            in which they work.

    Returns:
        ``embeddings``, the layers, and ``final`` (norms, pooling) where there
        is something behind the last layer. What stands between two layers
        (downsampling) belongs to the second.
    """
    groups, between = [LayerGroup('embeddings')], LayerGroup('final')
    _collect(model, tuple(LAYER_LISTS), groups, between)
    if any(True for _ in between.parameters()):
        groups.append(between)
    else:
        groups[-1].modules += between.modules
    return groups


def _collect(
    module: nn.Module, lists: tuple[str, ...], groups: list[LayerGroup], between: LayerGroup
) -> None:
    current = groups[0] if len(groups) == 1 else between
    current.loose += module.parameters(recurse=False)
    for name, child in module.named_children():
        if name in lists and isinstance(child, (nn.ModuleList, nn.Sequential)):
            for item in child:
                if _has_list(item, LAYER_LISTS[name]):
                    _collect(item, LAYER_LISTS[name], groups, between)
                    continue
                group = LayerGroup(f'layer {len(groups) - 1}', [*between.modules, item])
                group.loose += between.loose
                groups.append(group)
                between.modules.clear()
                between.loose.clear()
        elif _has_list(child, lists):
            _collect(child, lists, groups, between)
        elif len(groups) == 1 or name in EARLY:
            groups[0].modules.append(child)
        else:
            between.modules.append(child)


def _has_list(module: nn.Module, lists: tuple[str, ...]) -> bool:
    return any(
        name.split('.')[-1] in lists and isinstance(inner, (nn.ModuleList, nn.Sequential))
        for name, inner in module.named_modules()
    )


def count_frozen(groups: list[LayerGroup], wanted: int | str, name: str) -> int:
    """How many groups from the input on are frozen.

    Args:
        groups: of the tower.
        wanted: a number; a negative one counts those that are trained, at the
            end; ``all``.
        name: of the option, for messages.

    Raises:
        ValueError: anything else, or more than there are.
    """
    if wanted == 'all':
        return len(groups)
    if not isinstance(wanted, int) or isinstance(wanted, bool) or abs(wanted) > len(groups):
        listed = ', '.join(group.name for group in groups)
        raise ValueError(
            f"{name}={wanted!r} has to be 'all' or a number of the {len(groups)} layer groups of "
            f'this tower ({listed})'
        )
    return wanted if wanted >= 0 else len(groups) + wanted
