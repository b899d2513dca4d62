"""``torch.compile`` for those parts of a training step that are pure tensor arithmetic."""

import torch
from torch import nn


def compile_parts(model: nn.Module, fullgraph: bool = True, **options) -> None:
    """Let encoders, decoders and heads compile at their first call, each as one graph.

    Between these parts the step stays Python: prompts are drawn on the CPU,
    texts are grouped by length, features are gathered from other ranks, and a
    loss that is not finite stops the run. Weights keep their names, so that
    compiled and plain models read each other's checkpoints. DDP sends the
    gradients of a part as soon as they are computed.

    In a sharded model (``ShardedRunner``), each layer
    of encoders and decoder is a separate graph, since weights are gathered
    before each of them.

    Args:
        model: an ECLIP, changed in place. A copy of it is a plain model.
        fullgraph: whether a part that cannot be one graph is an error. If not,
            it runs as several graphs, which is slow.
        options: arguments of ``torch.compile``, such as ``mode='max-autotune'``.
    """
    from torch import _dynamo  # here: importing it takes a while

    # The limit counts the compilations of all modules together (they share the code of
    # nn.Module's call): two networks, heads, training and evaluation, lengths of texts.
    _dynamo.config.cache_size_limit = max(_dynamo.config.cache_size_limit, 64)
    networks = [model.network] if model.teacher is None else [model.network, model.teacher.network]
    for network in networks:
        for part in (network.image_encoder, network.text_encoder, network.decoder):
            if part is None:
                continue
            layers = sharded_layers(part)
            for layer in layers:  # inside FSDP's hooks, which cannot be part of a graph
                layer.forward = torch.compile(layer.forward, fullgraph=fullgraph, **options)
            if not layers:
                part.compile(fullgraph=fullgraph, **options)
    for head in model.heads.values():
        head.compile(fullgraph=fullgraph, **options)
    model.compiled = True


def sharded_layers(part: nn.Module) -> list[nn.Module]:
    """The innermost modules of ``part`` that FSDP2 gathers the weights of one by one."""
    sharded = [m for m in part.modules() if hasattr(m, 'unshard')]
    return [m for m in sharded if sum(hasattr(inner, 'unshard') for inner in m.modules()) == 1]
