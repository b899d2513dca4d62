"""The pretext heads of a model, built from its config."""

import difflib

from torch import Tensor, nn

from eclip_mm.models.embed_dims import takes_embed_dims, with_embed_dims
from eclip_mm.models.pretrain_outputs import PretrainOutputs
from eclip_mm.registry import MODELS

#: Names that the base configs give to the paper's tasks.
TASKS = ('itc', 'inter', 'itm', 'intra')


class PretextHeads(nn.ModuleDict):
    """All pretext heads of a model, by name.

    Args:
        pretext_heads: name -> config of a head, or None for a task that is
            switched off.
        embed_dims: joint width D of the model, which heads with an argument of
            this name get.

    Raises:
        KeyError: a name set to None looks like a misspelt task.
        TypeError: a head defines ``observe``, which nothing calls.
        ValueError: all tasks are switched off, or the config of a head has
            another width.
    """

    def __init__(self, pretext_heads: dict, embed_dims: int):
        check_head_names(pretext_heads)
        super().__init__()
        for name, cfg in pretext_heads.items():
            if cfg is None:
                continue
            if takes_embed_dims(cfg):
                cfg = with_embed_dims(cfg, embed_dims, f'pretext_heads.{name}')
            self[name] = MODELS.build(cfg)
            check_remembers(name, self[name])
        if not len(self):
            raise ValueError('pretext_heads switches every task off: nothing would be trained')

    def forward(self, outputs: PretrainOutputs) -> dict[str, Tensor]:
        """The terms of all heads.

        Raises:
            KeyError: two heads return a term of the same name.
        """
        terms = {}
        for name, head in self.items():
            found = head(outputs)
            if terms.keys() & found.keys():
                raise KeyError(
                    f'pretext_heads.{name} returns {sorted(terms.keys() & found.keys())}, '
                    'and so does another head; rename them'
                )
            terms.update(found)
        return terms


def check_remembers(name: str, head: nn.Module) -> None:
    """Check that a head of an older version does not lose what it keeps of a step.

    Raises:
        TypeError: it defines ``observe``.
    """
    if hasattr(head, 'observe'):
        raise TypeError(
            f'pretext_heads.{name}: {type(head).__name__} defines observe(), which is now '
            'remember() and returns a function, see CHANGELOG.md'
        )


def check_head_names(pretext_heads: dict) -> None:
    """Refuse names such as ``intr=None``, which would silently switch nothing off.

    Raises:
        KeyError: a name set to None looks like a misspelt task.
    """
    for name, cfg in pretext_heads.items():
        close = difflib.get_close_matches(name, TASKS, n=1)
        if cfg is None and name not in TASKS and close:
            raise KeyError(
                f'pretext_heads.{name}=None switches nothing off: did you mean {close[0]!r}?'
            )
