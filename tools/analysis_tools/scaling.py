"""The time of a training step on many GPUs, by compute, data loading and communication.

Operations are counted on the model; everything else is calculated from :class:`Assumptions`.
"""

from dataclasses import dataclass

import torch
from scaling_assumptions import Assumptions
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig

from eclip_mm.config.from_checkpoint import without_pretrained
from eclip_mm.config.loading import load_config
from eclip_mm.registry import MODELS

FLOAT = 4  # bytes: weights, gradients and features are sent as float32
GPUS_PER_MACHINE = 8


@dataclass(frozen=True)
class CountedModel:
    """The size of a model.

    Attributes:
        flops: operations of encoders and decoder in the forward pass of one product.
        params: number of trained parameters.
        teacher_params: number of parameters of the momentum model; 0 without one.
        embed_dims: joint width D.
    """

    flops: float
    params: int
    teacher_params: int
    embed_dims: int


def count_model(config: str, num_tokens: int) -> CountedModel:
    """Count the operations of matrix products and attention in the model of a config.

    No weights are read: of a dual encoder, only the config in its folder. The model is built on
    the meta device, without memory for its weights; with a dual encoder it is built on the CPU
    first. A multiplication with an addition counts as two operations, as in
    ``torch.utils.flop_counter``.

    Args:
        config: path of the config file.
        num_tokens: length of a text in tokens.
    """
    cfg = load_config(config)
    dual = cfg.model.get('pretrained_dual')
    if dual:
        cfg.model.pretrained_dual = without_weights(dual)
    with torch.device('cpu' if dual else 'meta'):  # the logit scale of a dual encoder is read
        model = MODELS.build(without_pretrained(cfg.model)).to('meta')
    network = model.network
    size = network.image_encoder.model.config.image_size
    # plain attention, since the operations of fused kernels are not counted on every device
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        with torch.device('meta'):
            ids = torch.zeros(1, num_tokens, dtype=torch.int64)
            # without a mask, because its values would be read
            network.text_proj(network.text_encoder.encode_tokens(ids, None)[:, 0])
            _, patch_tokens, _ = network.encode_image(torch.empty(1, 3, size, size))
        if network.decoder is not None:  # on the CPU, since its autocast has no meta device
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


def without_weights(dual: str | dict) -> dict:
    """A ``pretrained_dual`` with the architecture of the given one and random weights."""
    options = dict(pretrained=dual) if isinstance(dual, str) else dict(dual)
    if not options.get('pretrained'):
        return options
    config = AutoConfig.from_pretrained(
        options['pretrained'], local_files_only=not options.get('allow_download')
    )
    fields = config.to_diff_dict()
    fields = {key: fields[key] for key in fields if key.endswith(('_config', '_dim'))}
    return dict(model_type=config.model_type, config=fields)


def operations(model: CountedModel, given: Assumptions) -> float:
    """Number of operations for one product in a training step.

    These are the forward pass, the backward pass (twice the forward), the forward pass
    of the momentum model, and the contrastive losses. The losses compare a product four
    times with the batch (itc both ways, inter, and itm's hard negatives or intra), in
    the forward and in the backward pass.
    """
    passes = 3 + given.recompute + bool(model.teacher_params)
    losses = 4 * 3 * 2 * given.global_batch * model.embed_dims
    return passes * model.flops + losses


def gathered_bytes(global_batch: int, embed_dims: int, teacher: bool = True) -> int:
    """Bytes that a rank receives in a step by gathering features and their gradients.

    In the forward pass these are image and text features of the model; text, image and
    instance features of the momentum model; and an int64 for each product. In the
    backward pass the gradients of the first two are summed over the ranks, which sends
    them twice.
    """
    features = global_batch * embed_dims * FLOAT
    return (2 + 3 * teacher) * features + 2 * 2 * features + 8 * global_batch


def weight_bytes(model: CountedModel, sharded: bool) -> int:
    """Bytes of weights and gradients that a rank sends in a step, before the factor (n - 1) / n.

    DDP scatters, sums and gathers the gradients. A sharded model gathers its weights in
    the forward and in the backward pass and those of the momentum model once, and
    scatters the gradients.
    """
    if sharded:
        return (3 * model.params + model.teacher_params) * FLOAT
    return 2 * model.params * FLOAT


def step_seconds(model: CountedModel, gpus: int, given: Assumptions) -> dict[str, float]:
    """Seconds of a step that each of its five parts would take alone."""
    machines = max(1, gpus // GPUS_PER_MACHINE)
    products = given.global_batch / machines  # of one machine
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
    """Seconds of a collective in which a rank sends ``num_bytes`` except for its own part.

    Ranks within a machine send over NVLink. A machine sends to the others once, over all
    its network cards. Both happen at the same time, so the slower one counts.
    """
    local = min(gpus, GPUS_PER_MACHINE)
    machines = max(1, gpus // GPUS_PER_MACHINE)
    within = (local - 1) / local * num_bytes / (given.nvlink_gbytes * 1e9)
    between = (machines - 1) / machines * num_bytes / (local * given.network_gbytes * 1e9)
    return max(within, between) / given.network_share


def whole_step(seconds: dict[str, float]) -> float:
    """Seconds of a step: the longest part, plus the gathers, which overlap with nothing."""
    rest = max(value for key, value in seconds.items() if key != 'gathers')
    return rest + seconds['gathers']


def run_hours(step: float, given: Assumptions) -> float:
    """Hours of the whole training, at ``step`` seconds a step."""
    return step * (given.products // given.global_batch) * given.epochs / 3600
