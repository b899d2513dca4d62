"""``torch.compile`` for the parts of a training step that are tensor arithmetic alone."""

import torch
from torch import nn


def compile_parts(model: nn.Module, fullgraph: bool = True, **options) -> None:
    """Encoders, decoders and heads compile at their first call, each as one graph.

    Between them the step stays Python: which prompts a product gets is drawn
    on the CPU, texts are grouped by their lengths, features are gathered from
    other ranks, and a loss that is not finite stops the run. Weights keep
    their names, so that a checkpoint fits both ways; gradients of DDP leave as
    soon as a part has them.

    Of a divided model (``ShardedRunner``) the layers of encoders and decoder
    are a graph each, since weights are gathered before each of them.

    Args:
        model: an ECLIP; in place. A copy of it is a plain one.
        fullgraph: a part that cannot be one graph is an error, instead of
            being slow.
        options: of ``torch.compile``, such as ``mode='max-autotune'``.
    """
    from torch import _dynamo  # here: importing it takes a while

    # all modules' compilations count together, by the code of nn.Module's call: two networks,
    # heads, training and evaluation, lengths of texts
    _dynamo.config.cache_size_limit = max(_dynamo.config.cache_size_limit, 64)
    networks = [model.network] if model.teacher is None else [model.network, model.teacher.network]
    for network in networks:
        for part in (network.image_encoder, network.text_encoder, network.decoder):
            if part is None:
                continue
            layers = divided_layers(part)
            for layer in layers:  # inside of FSDP's hooks, which cannot be in a graph
                layer.forward = torch.compile(layer.forward, fullgraph=fullgraph, **options)
            if not layers:
                part.compile(fullgraph=fullgraph, **options)
    for head in model.heads.values():
        head.compile(fullgraph=fullgraph, **options)


def divided_layers(part: nn.Module) -> list[nn.Module]:
    """The innermost modules in it whose weights FSDP2 gathers by themselves."""
    divided = [m for m in part.modules() if hasattr(m, 'unshard')]
    return [m for m in divided if sum(hasattr(inner, 'unshard') for inner in m.modules()) == 1]
