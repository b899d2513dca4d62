"""What a training asks of many GPUs: arithmetic, data and what is sent, for a step.

Operations are counted on the model; everything else is arithmetic on :class:`Assumptions`.
"""

from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from eclip_mm.config.from_checkpoint import without_pretrained
from eclip_mm.config.loading import load_config
from eclip_mm.registry import MODELS

FLOAT = 4  # bytes: weights, gradients and features are sent as float32
GPUS_PER_MACHINE = 8


@dataclass(frozen=True)
class Assumptions:
    """A training and the machines for it. Rates of hardware: published peak times assumed share.

    Attributes:
        products, epochs, global_batch: Of the training.
        text_bytes (int), picture_kbytes (float): Of a product's text; of a picture.
        pictures_read: Of a product. A row of Parquet is read whole,
            with the pictures that a sample does not use.
        pictures_per_core: Decoded and cropped per second.
        cores: Of a machine, for decoding.
        read_gbytes: Per second, from storage into a machine.
        peak_tflops: Of a GPU, bf16, dense.
        use: Share of it that a step reaches.
        nvlink_gbytes, network_gbytes: Per second and GPU, one way,
            within a machine and out of it.
        network_share: Of both that collectives reach.
        recompute: Activation checkpointing or ``chunk_size``.
        sharded: ``ShardedRunner`` in the place of DDP.
    """

    products: int = 15_000_000
    epochs: int = 15
    global_batch: int = 6400
    text_bytes: int = 200
    picture_kbytes: float = 100.0
    pictures_read: float = 6.7
    pictures_per_core: float = 400.0
    cores: int = 96
    read_gbytes: float = 2.0
    peak_tflops: float = 989.0
    use: float = 0.4
    nvlink_gbytes: float = 450.0
    network_gbytes: float = 50.0
    network_share: float = 0.7
    recompute: bool = False
    sharded: bool = False


@dataclass(frozen=True)
class CountedModel:
    """What is counted on a config.

    Attributes:
        flops: Of encoders and decoder for one product, forward.
        params: That are trained.
        teacher_params: Of the momentum model; 0 without one.
        embed_dims: D.
    """

    flops: float
    params: int
    teacher_params: int
    embed_dims: int


def count_model(config: str, num_tokens: int) -> CountedModel:
    """Build the model without memory and count its matrix products and attention.

    Two operations a multiplication with addition, as ``torch.utils.flop_counter`` counts.

    Args:
        config: Config file.
        num_tokens: Tokens of a text.
    """
    cfg = load_config(config)
    with torch.device('meta'):
        model = MODELS.build(without_pretrained(cfg.model))
    network = model.network
    size = network.image_encoder.model.config.image_size
    # the plain formula of attention: fused kernels are not counted on every device
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        with torch.device('meta'):
            ids = torch.zeros(1, num_tokens, dtype=torch.int64)
            # without a mask, whose values would be looked at
            network.text_proj(network.text_encoder.encode_tokens(ids, None)[:, 0])
            _, patch_tokens, _ = network.encode_image(torch.empty(1, 3, size, size))
        if network.decoder is not None:  # small, and its autocast knows no meta device
            network.decoder.to_empty(device='cpu')
            queries = torch.zeros(1, network.queries.num_queries, network.embed_dims)
            network.decoder(torch.zeros(patch_tokens.shape), queries)
    teacher = model.teacher
    return CountedModel(
        flops=counter.get_total_flops(),
        params=sum(p.numel() for p in model.parameters() if p.requires_grad),
        teacher_params=sum(p.numel() for p in teacher.parameters()) if teacher else 0,
        embed_dims=network.embed_dims,
    )


def operations(model: CountedModel, given: Assumptions) -> float:
    """Of a product in a training step.

    Forward, backward (twice the forward), forward of the momentum model; the
    contrastive losses compare it four times with the batch (itc both ways,
    inter, and itm's hard negatives or intra), forward and backward.
    """
    passes = 3 + given.recompute + bool(model.teacher_params)
    losses = 4 * 3 * 2 * given.global_batch * model.embed_dims
    return passes * model.flops + losses


def gathered_bytes(global_batch: int, embed_dims: int, teacher: bool = True) -> int:
    """Bytes that the gathers of a step bring to a rank, and their gradients.

    Forward: image and text features of the model; text, image and instance
    features of the momentum model; an int64 for each product. Backward: the
    gradients of the first two are summed over the ranks, which sends twice.
    """
    features = global_batch * embed_dims * FLOAT
    return (2 + 3 * teacher) * features + 2 * 2 * features + 8 * global_batch


def weight_bytes(model: CountedModel, sharded: bool) -> int:
    """Bytes of weights and gradients that a rank sends in a step, before the factor (n - 1) / n.

    DDP: gradients are scattered, summed and gathered. Divided: weights are
    gathered forward and backward, those of the momentum model once, and
    gradients scattered.
    """
    if sharded:
        return (3 * model.params + model.teacher_params) * FLOAT
    return 2 * model.params * FLOAT


def step_seconds(model: CountedModel, gpus: int, given: Assumptions) -> dict[str, float]:
    """Seconds of a step by what they are spent on: the five things that can be the limit."""
    machines = max(1, gpus // GPUS_PER_MACHINE)
    products = given.global_batch / machines  # of a machine
    read = products * (given.pictures_read * given.picture_kbytes * 1e3 + given.text_bytes)
    total = given.global_batch * operations(model, given)
    teacher = bool(model.teacher_params)
    gathered = gathered_bytes(given.global_batch, model.embed_dims, teacher)
    return dict(
        compute=total / (gpus * given.peak_tflops * 1e12 * given.use),
        reading=read / (given.read_gbytes * 1e9),
        decoding=2 * products / (given.cores * given.pictures_per_core),
        weights=send_seconds(weight_bytes(model, given.sharded), gpus, given),
        gathers=send_seconds(gathered, gpus, given),
    )


def send_seconds(num_bytes: float, gpus: int, given: Assumptions) -> float:
    """Of a collective in which a rank sends ``num_bytes`` but for its own share.

    Within a machine over NVLink; between machines over all its network cards,
    once for the machine. Both go on at the same time, the slower one counts.
    """
    local = min(gpus, GPUS_PER_MACHINE)
    machines = max(1, gpus // GPUS_PER_MACHINE)
    within = (local - 1) / local * num_bytes / (given.nvlink_gbytes * 1e9)
    between = (machines - 1) / machines * num_bytes / (local * given.network_gbytes * 1e9)
    return max(within, between) / given.network_share


def whole_step(seconds: dict[str, float]) -> float:
    """Gathers stand between forward and backward; the rest goes on beside the arithmetic."""
    rest = max(value for key, value in seconds.items() if key != 'gathers')
    return rest + seconds['gathers']


def run_hours(step: float, given: Assumptions) -> float:
    """Of the whole training, at ``step`` seconds a step."""
    return step * (given.products // given.global_batch) * given.epochs / 3600
