"""What others can use of a checkpoint with adapters: the adapters alone, or plain weights."""

from pathlib import Path

import torch
from mmengine.config import Config
from safetensors.torch import save_file

from eclip_mm.checkpoint.adapters import DOWN, SCALING, UP, merge_lora
from eclip_mm.checkpoint.metadata import ENCODERS
from eclip_mm.checkpoint.safe_loading import read_checkpoint
from eclip_mm.utils.config_text import parse_config_text
from eclip_mm.utils.env_check import check_lora
from eclip_mm.utils.files import whole_file


def export_adapters(checkpoint: str, folder: str | Path, prefix: str = 'network.') -> list[Path]:
    """Write the adapters of each tower as ``peft`` does.

    ``PeftModel.from_pretrained(tower, FOLDER)`` reads one, where ``tower`` is the model of
    ``transformers`` that the training began with; of a dual encoder its ``vision_model`` or
    ``text_model``.

    Args:
        checkpoint: path of a checkpoint.
        folder: gets a folder for each tower with adapters, ``image_encoder`` and
            ``text_encoder``.
        prefix: ``teacher.network.`` for those of the momentum model.

    Returns:
        The folders, each with ``adapter_config.json`` and
        ``adapter_model.safetensors``.

    Raises:
        EnvironmentCheckError: ``peft`` is not installed.
        ValueError: the checkpoint has no adapters behind ``prefix``.
    """
    check_lora()
    from peft import LoraConfig  # here: importing it takes seconds

    content = read_checkpoint(checkpoint)
    state = content['state_dict']
    config = _read_config(content, checkpoint).get('model', {})
    written = []
    for name in ENCODERS:
        start = f'{prefix}{name}.'
        if start + SCALING not in state:
            continue
        tower = f'{start}model.'
        adapters = {k[len(tower) :]: v for k, v in state.items() if k.endswith((DOWN, UP))
                    and k.startswith(tower)}  # fmt: skip
        layers = [key.removesuffix(DOWN) for key in adapters if key.endswith(DOWN)]
        rank = len(adapters[layers[0] + DOWN])
        options = (config.get('lora') or {}).get(name.removesuffix('_encoder')) or {}
        out = Path(folder) / name
        out.mkdir(parents=True, exist_ok=True)
        LoraConfig(
            r=rank,
            lora_alpha=round(rank * float(state[start + SCALING]), 6),
            lora_dropout=options.get('dropout', 0.0),
            target_modules=layers,
            base_model_name_or_path=(config.get(name) or {}).get('pretrained'),
            inference_mode=True,
        ).save_pretrained(out)
        # `default`, the name of the adapters in a model, is not in the file
        named = {
            f'base_model.model.{key.replace(".default.", ".")}': value.contiguous()
            for key, value in adapters.items()
        }
        with whole_file(out / 'adapter_model.safetensors') as part:
            save_file(named, part, metadata=dict(format='pt'))
        written.append(out)
    if not written:
        raise ValueError(
            f'{checkpoint} has no adapters named {prefix}image_encoder.{SCALING} or '
            f'{prefix}text_encoder.{SCALING}: it was trained without model.lora'
        )
    return written


def export_merged(checkpoint: str, path: str | Path) -> None:
    """Write a checkpoint without adapters, with their effect in the weights.

    It is for evaluation, transfer and further training, not for ``--resume``: the state of the
    optimiser belongs to the adapters. Using it needs no ``peft``.

    Args:
        checkpoint: path of a checkpoint with adapters.
        path: of the new one.

    Raises:
        ValueError: there are no adapters to merge.
    """
    content = read_checkpoint(checkpoint)
    state = merge_lora(content['state_dict'])
    if len(state) == len(content['state_dict']):
        raise ValueError(f'{checkpoint} has no adapters to merge; use it as it is')
    meta = dict(content.get('meta') or {})
    config = _read_config(content, checkpoint)
    if config:
        config['model'].pop('lora', None)
        meta['cfg'] = Config(config).pretty_text
    with whole_file(path) as part:
        torch.save(dict(meta=meta, state_dict=state), part)


def _read_config(content: dict, checkpoint: str) -> dict:
    """The config in a checkpoint; empty if it has none."""
    text = (content.get('meta') or {}).get('cfg')
    return parse_config_text(text, f'{checkpoint}: its config') if text else {}
