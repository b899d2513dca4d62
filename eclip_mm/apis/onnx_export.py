"""The towers and the decoder of a model as ONNX graphs of any batch size."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from eclip_mm.apis.input_pictures import PictureReader
from eclip_mm.apis.model_sources import LoadedModel
from eclip_mm.apis.onnx_model import DECODER, FOLDER, IMAGE, TEXT, OnnxDescription
from eclip_mm.models import ECLIP
from eclip_mm.models.decoders import TEXT as IS_TEXT
from eclip_mm.models.score_map import assignment_score_map
from eclip_mm.utils.env_check import check_onnx_export

PRECISIONS = ('fp32', 'fp16', 'int8')
#: sides of pictures that must all get the same size
_SIDES = ((60, 90), (90, 60), (300, 310))


def write_graphs(loaded: LoadedModel, folder: Path, precision: str = 'fp32') -> OnnxDescription:
    """Write ``onnx/image.onnx``, ``text.onnx``, and with a decoder ``decoder.onnx``.

    - ``image``: ``pixels`` (B, 3, H, W) uint8 RGB -> ``image_feats`` (B, D), ``patch_tokens``
      (B, N, D). They are normalised in the graph.
    - ``text``: ``input_ids``, ``attention_mask`` (B, M) int64 -> ``text_feats`` (B, D).
    - ``decoder``: ``patch_tokens``, ``prompts`` (B, T, D), each scaled to the norm sqrt(D), the
      first the one that is looked for and the others its negatives -> ``instance_feats`` (B, D),
      ``score_map`` (B, N).

    Args:
        loaded: the model.
        folder: of the model; gets the folder ``onnx``.
        precision: ``fp16`` and ``int8`` (weights of products of matrices) are made of the graphs
            in ``fp32``.

    Raises:
        EnvironmentCheckError: what exports graphs is not installed.
        ValueError: the model is no plain ``ECLIP``, its pictures have no fixed size, or the
            precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(f'precision is one of {", ".join(PRECISIONS)}, got {precision!r}')
    check_onnx_export()
    model = loaded.model
    if type(model) is not ECLIP:
        raise ValueError(f'only an ECLIP becomes ONNX graphs, and this is {type(model).__name__}')
    height, width = _picture_size(loaded.pictures)
    pixels = torch.zeros(3, 3, height, width, dtype=torch.uint8)
    image = _Image(model)
    with torch.no_grad():
        tokens, grid = image(pixels)[1], image.grid
    num_queries = model.network.queries.num_queries if model.with_decoder else None
    about = OnnxDescription(precision, [height, width], list(grid), num_queries)
    (folder / FOLDER).mkdir()
    length = min(loaded.tokenize.max_length, 7)
    ids = torch.ones(3, length, dtype=torch.int64)
    names = ('image_feats', 'patch_tokens')
    _export(image, folder / IMAGE, dict(pixels=pixels), names, ['batch'])
    with _one_length_group(model.network.text_encoder):
        texts = dict(input_ids=ids, attention_mask=torch.ones_like(ids))
        _export(_Text(model), folder / TEXT, texts, ('text_feats',), ['batch', 'tokens'])
    if model.with_decoder:
        # another number of queries than in training, for which the positions are looked up
        prompts = torch.randn(3, num_queries + 2, tokens.shape[-1])
        inputs = dict(patch_tokens=torch.randn_like(tokens), prompts=prompts)
        dims = dict(patch_tokens=['batch'], prompts=['batch', 'queries'])
        _export(_Decoder(model), folder / DECODER, inputs, ('instance_feats', 'score_map'), dims)
    for name in about.files()[1:] if precision != 'fp32' else ():
        _convert(folder / name, precision)
    about.write(folder)
    return about


class _Image(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.network, self.preprocessor = model.network, model.data_preprocessor
        self.grid = None

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        images = (pixels.float() - self.preprocessor.mean) / self.preprocessor.std
        feats, tokens, self.grid = self.network.encode_image(images)
        return feats, tokens


class _Text(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.network = model.network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.network.encode_text(input_ids, attention_mask)


class _Decoder(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.network, self.blocks = model.network, model.score_map_blocks

    def forward(self, patch_tokens: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        modality = torch.full_like(prompts[..., 0], IS_TEXT, dtype=torch.int64)
        feats, maps = self.network.decode(patch_tokens, prompts, modality)
        grid = (patch_tokens.shape[1], 1)
        feats = nn.functional.normalize(feats[:, 0].float(), dim=-1)
        return feats, assignment_score_map(maps, grid, self.blocks).flatten(1)


def _export(module: nn.Module, path: Path, inputs: dict, outputs, dims) -> None:
    dims = dims if isinstance(dims, dict) else {name: dims for name in inputs}
    shapes = {
        name: {k: torch.export.Dim.DYNAMIC for k in range(len(dims[name]))} for name in inputs
    }
    with torch.no_grad(), _quiet():
        torch.onnx.export(
            module.eval(),
            (),
            path,
            kwargs=inputs,
            output_names=list(outputs),
            dynamic_shapes=shapes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings of what a graph could have as well; the gate finds what matters."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)


@contextmanager
def _one_length_group(encoder: nn.Module) -> Iterator[None]:
    """Encode texts as they are padded: groups of similar length depend on the batch."""
    before = encoder.length_groups
    encoder.length_groups = 1
    try:
        yield
    finally:
        encoder.length_groups = before


def _convert(path: Path, precision: str) -> None:
    """Replace a graph by one of lower precision; inputs and outputs stay as they are."""
    import onnx

    if precision == 'fp16':
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)
        return
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = path.with_suffix('.whole')
    path.rename(whole)
    # without VNNI, products of 8-bit numbers saturate unless their range is reduced
    with _quiet():
        quantize_dynamic(
            whole,
            path,
            op_types_to_quantize=['MatMul', 'Gemm'],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
    whole.unlink()


def _picture_size(transforms: list[dict]) -> tuple[int, int]:
    read = PictureReader(transforms)
    shapes = {tuple(read(np.zeros((*side, 3), np.uint8)).pixels.shape[1:]) for side in _SIDES}
    if len(shapes) > 1:
        raise ValueError(
            f'the pictures of this model have several sizes, such as {sorted(shapes)}; a graph '
            'has one'
        )
    return shapes.pop()
