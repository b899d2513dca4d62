"""Systems that train_step.py compares: each makes training steps from one config."""

import tempfile
from collections.abc import Callable

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, VisionTextDualEncoderConfig, VisionTextDualEncoderModel

from eclip_mm.engine import PretrainOptimWrapperConstructor
from eclip_mm.registry import MODELS
from eclip_mm.testing import fake_batch
from eclip_mm.utils.finite import refuse_nonfinite_gradients
from eclip_mm.utils.options import parse_value

#: longest text of the paper in tokens
MAX_TOKENS = 55


def text_lengths(batch_size: int, median: float) -> torch.Tensor:
    """Draw (B,) lengths of titles in tokens: log-normal (sigma 0.4), cut to 5..55, fixed seed."""
    normal = torch.randn(batch_size, generator=torch.Generator().manual_seed(0))
    return (median * (0.4 * normal).exp()).round().long().clamp(5, MAX_TOKENS)


def make_batch(args, image_size: int, text: str) -> dict:
    """Make a batch as ``collate_products`` does.

    Args:
        args: ``batch_size``, ``median_tokens``.
        image_size: side in pixels.
        text: ``full``: every text has 55 tokens; ``titles``: the lengths of
            :func:`text_lengths`, padded to the longest of the batch;
            ``titles55``: the same padded to 55.
    """
    batch = fake_batch(args.batch_size, image_size=image_size, num_tokens=MAX_TOKENS)
    lengths = text_lengths(args.batch_size, args.median_tokens)
    if text == 'full':
        lengths = torch.full_like(lengths, MAX_TOKENS)
    width = int(lengths.max()) if text == 'titles' else MAX_TOKENS
    mask = (torch.arange(width) < lengths[:, None]).long()
    ids = torch.randint(3, 100, mask.shape, generator=torch.Generator().manual_seed(1))
    batch['inputs'].update(input_ids=ids * mask, attention_mask=mask)
    return batch


def count_flops(step: Callable[[], None]) -> int:
    """Count the arithmetic of a step: matrix products and attention."""
    # uncompiled and with the plain formula of attention, which the counter can read
    torch.compiler.set_stance('force_eager')
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step()
    torch.compiler.set_stance('default')
    return counter.get_total_flops()


def read_config(args, options: dict):
    """Read the config with random weights, ``--layers``, ``--precision`` and own options."""
    # not by eclip_mm.config, which checkouts for --before may not have
    cfg = Config.fromfile(args.config)
    init_default_scope('eclip_mm')
    for encoder in (cfg.model.image_encoder, cfg.model.text_encoder):
        encoder.pretrained = None
        encoder.setdefault('config', {})
        if args.layers:
            encoder.config.num_hidden_layers = args.layers
    if args.layers:  # one block to two layers, as in the paper's ViT-B
        cfg.model.decoder.num_blocks = max(1, args.layers // 2)
    cfg.optim_wrapper.type = 'BF16OptimWrapper' if args.precision == 'bf16' else 'OptimWrapper'
    cfg.merge_from_dict(options)
    return cfg


def build_optimizer(cfg, model: nn.Module):
    """Build the config's optimiser with clipping and autocast, the same for every system."""
    wrapper = {k: v for k, v in cfg.optim_wrapper.items() if k != 'constructor'}
    return PretrainOptimWrapperConstructor(wrapper)(model)


class Ours:
    """ECLIP or, with the image-text task alone, CLIP."""

    def __init__(self, cfg, device: str, clip: bool, compiled: bool):
        if clip:
            cfg.model.pretext_heads.update(inter=None, itm=None, intra=None)
        self.model = MODELS.build(cfg.model).to(device).train()
        if compiled:
            # here, since checkouts for --before may not have it
            from eclip_mm.models.compiled import compile_parts

            compile_parts(self.model)
        self.optim = build_optimizer(cfg, self.model)
        if hasattr(self.model, 'is_read_later'):  # as the training loop does
            self.model.is_read_later = refuse_nonfinite_gradients(self.optim, self.model)

    def step(self, batch: dict) -> None:
        self.model.train_step(batch, self.optim)
        self.model.update_teacher(progress=0.0)


class Peer:
    """``transformers.VisionTextDualEncoderModel`` with pictures as floats on the device."""

    def __init__(self, cfg, device: str, compiled: bool):
        towers = [
            AutoConfig.for_model(encoder.get('model_type', default), **encoder.config)
            for encoder, default in (
                (cfg.model.image_encoder, 'vit'),
                (cfg.model.text_encoder, 'bert'),
            )
        ]
        if cfg.model.image_encoder.get('conv_stem'):
            raise ValueError('the peer has no towers with conv_stem; use another config')
        self.model = self.build(towers, cfg.model.embed_dims).to(device).train()
        self.optim = build_optimizer(cfg, self.model)
        if compiled:
            self.model.compile(fullgraph=True)
        self.ready = {}

    def build(self, towers, embed_dims: int) -> nn.Module:
        return VisionTextDualEncoderModel(
            VisionTextDualEncoderConfig.from_vision_text_configs(
                *towers, projection_dim=embed_dims
            )
        )

    def step(self, batch: dict) -> None:
        if id(batch) not in self.ready:
            self.ready[id(batch)] = self.prepare(batch['inputs'])
        with self.optim.optim_context(self.model):
            loss = self.loss(*self.ready[id(batch)])
        self.optim.update_params(loss)

    def prepare(self, inputs: dict) -> tuple[torch.Tensor, ...]:
        device = next(self.model.parameters()).device
        images = (inputs['images'][:, 0].float() - 127.5) / 127.5
        return tuple(x.to(device) for x in (images, inputs['input_ids'], inputs['attention_mask']))

    def loss(self, images, input_ids, attention_mask) -> torch.Tensor:
        return self.model(
            pixel_values=images,
            input_ids=input_ids,
            attention_mask=attention_mask,
            return_loss=True,
        ).loss


class OpenCLIP(Peer):
    """open_clip's ViT and loss, with the same BERT as text tower."""

    def build(self, towers, embed_dims: int) -> nn.Module:
        import open_clip

        vision, text = towers
        with tempfile.TemporaryDirectory() as folder:  # open_clip reads the text config by name
            text.save_pretrained(folder)
            model = open_clip.model.CustomTextCLIP(
                embed_dims,
                vision_cfg=dict(
                    layers=vision.num_hidden_layers,
                    width=vision.hidden_size,
                    head_width=vision.hidden_size // vision.num_attention_heads,
                    mlp_ratio=vision.intermediate_size / vision.hidden_size,
                    patch_size=vision.patch_size,
                    image_size=vision.image_size,
                ),
                text_cfg=dict(
                    hf_model_name=folder,
                    hf_model_pretrained=False,
                    hf_proj_type='linear',
                    hf_pooler_type='cls_pooler',
                ),
                output_dict=False,
            )
        self.criterion = open_clip.loss.ClipLoss()
        return model

    def loss(self, images, input_ids, attention_mask) -> torch.Tensor:
        # the model makes its own mask, which leaves out token 0
        return self.criterion(*self.model(images, input_ids)[:3])


def build_system(name: str, args):
    """Build a system from its name.

    Args:
        name: ``peer``, ``open_clip``, ``clip`` or ``eclip``, followed by words
            after spaces: ``compiled`` for torch.compile, ``KEY=VALUE`` for
            another value in its config. ``before`` has no meaning here.
    """
    kind, *words = name.split(' ')
    options = dict(word.split('=', 1) for word in words if '=' in word)
    unknown = {word for word in words if '=' not in word} - {'compiled', 'before'}
    if unknown:
        raise ValueError(f'system {name!r}: {unknown} is neither compiled nor KEY=VALUE')
    cfg = read_config(args, {key: parse_value(value) for key, value in options.items()})
    torch.manual_seed(0)
    compiled = 'compiled' in words
    if kind in ('clip', 'eclip'):
        system = Ours(cfg, args.device, kind == 'clip', compiled)
    else:
        peer = dict(peer=Peer, open_clip=OpenCLIP)[kind]
        system = peer(cfg, args.device, compiled)
    return system, cfg.model.image_encoder.config.get('image_size', 224)
