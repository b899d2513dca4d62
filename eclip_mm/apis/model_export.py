"""From a checkpoint of a training to a folder that can be given to others."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import transformers

from eclip_mm import __version__
from eclip_mm.apis.input_pictures import Item, PictureReader
from eclip_mm.apis.model_card import card_text
from eclip_mm.apis.model_sources import LoadedModel, load_source, used_weights
from eclip_mm.apis.onnx_export import write_graphs
from eclip_mm.apis.onnx_model import DESCRIPTION, OnnxDescription, load_onnx
from eclip_mm.apis.onnx_parity import measure_parity, read_pairs
from eclip_mm.apis.tasks import ModelTasks
from eclip_mm.checkpoint.metadata import read_meta
from eclip_mm.checkpoint.model_folder import SUMS, ModelFolder, add_sums, write_model_folder
from eclip_mm.checkpoint.towers.folder import CARD, whole_folder


@dataclass
class OnnxOptions:
    """How ONNX graphs are made and checked.

    Attributes:
        catalogues: at least 200 pictures with texts, on which graphs and weights are compared.
        precision: ``fp32``, ``fp16``, or ``int8``.
        max_loss: how much recall or how many similar boxes ``fp16`` and ``int8`` may lose.
    """

    catalogues: Sequence[str | Path]
    precision: str = 'fp32'
    max_loss: float = 0.02


#: largest difference of a component of a vector between checkpoint and folder
TOLERANCE = 1e-5


def export_model(
    checkpoint: str | Path,
    folder: str | Path,
    metrics: str | Path | None = None,
    licence: str | None = None,
    replace: bool = False,
    onnx: OnnxOptions | None = None,
) -> Path:
    """Write a folder that :class:`~eclip_mm.Eclip` reads, whole or not at all.

    Adapters (LoRA) are merged; heads and momentum model, which only training needs, are left out.
    The folder is read again before it gets its name, and must give the vectors of the checkpoint.

    Args:
        checkpoint: checkpoint of a training.
        folder: is made, with its parents.
        metrics: ``metrics.json`` of ``tools/test.py``, for the card.
        licence: SPDX identifier of the licence of the weights, for the card.
        replace: replace an earlier export.
        onnx: add ONNX graphs, which ``Eclip(folder, backend='onnx')`` uses.

    Returns:
        The folder.

    Raises:
        FileExistsError: something else is there, or ``replace`` is not set.
        FileNotFoundError: there is no such checkpoint or file of metrics.
        ParityError: the graphs give other results than the weights.
        ValueError: the checkpoint, its tokenizer or the metrics cannot be used.
    """
    checkpoint, folder = Path(checkpoint), Path(folder)
    _check_target(folder, replace)
    figures = read_metrics(metrics) if metrics is not None else None
    if checkpoint.is_dir():
        raise ValueError(f'{checkpoint} is a folder: give the checkpoint of a training')
    loaded = load_source(checkpoint)
    content = ModelFolder(
        model=loaded.config,
        pictures=loaded.pictures,
        texts=dict(
            max_length=loaded.tokenize.max_length,
            pad_token_id=loaded.tokenize.tokenizer.pad_token_id,
        ),
        checkpoint=loaded.checkpoint,
        versions=dict(
            eclip_mm=__version__, torch=torch.__version__, transformers=transformers.__version__
        ),
        tokenizer=_tokenizer_json(loaded, checkpoint),
        weights=used_weights(loaded.model),
    )
    with whole_folder(folder, replace=replace) as part:
        write_model_folder(part, content)
        written = load_source(part)
        _check_same(loaded, written, checkpoint)
        graphs = None if onnx is None else _add_graphs(written, part, onnx)
        text = card_text(
            folder.resolve().name, content, read_meta(str(checkpoint)), figures, licence, graphs
        )
        (part / CARD).write_text(text, encoding='utf-8')
    return folder


def _add_graphs(written: LoadedModel, part: Path, options: OnnxOptions) -> OnnxDescription:
    """Write graphs, and refuse them if they give other results than the weights."""
    pairs = read_pairs(written.pictures, options.catalogues)
    about = write_graphs(written, part, options.precision)
    add_sums(part, about.files())
    parity = measure_parity(written, load_onnx(part, torch.device('cpu')), *pairs)
    parity.check(options.precision, options.max_loss)
    about.parity = asdict(parity)
    about.write(part)
    sums = (part / SUMS).read_text(encoding='utf-8').splitlines(keepends=True)
    kept = [line for line in sums if not line.endswith(f'  {DESCRIPTION}\n')]
    (part / SUMS).write_text(''.join(kept), encoding='utf-8')
    add_sums(part, [DESCRIPTION])
    return about


def read_metrics(path: str | Path) -> dict[str, float]:
    """The figures of a ``metrics.json``.

    Raises:
        ValueError: the file is not an object of numbers.
    """
    try:
        figures = json.loads(Path(path).read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{path} is not JSON: {error}') from error
    if not isinstance(figures, dict) or not figures:
        raise ValueError(f'{path} is not an object of figures, as tools/test.py writes it')
    for key, value in figures.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f'{path}: {key!r} is {value!r}, not a number')
    return figures


def _check_target(folder: Path, replace: bool) -> None:
    if not folder.exists() or folder.is_dir() and not any(folder.iterdir()):
        return
    if not (folder / SUMS).is_file():
        raise FileExistsError(f'{folder} is there, and is no export: give another folder')
    if not replace:
        raise FileExistsError(f'{folder} is there: give another folder, or --force to replace it')


def _tokenizer_json(loaded: LoadedModel, checkpoint: Path) -> str:
    tokenizer = loaded.tokenize.tokenizer
    text = tokenizer.to_json() if hasattr(tokenizer, 'to_json') else None
    if text is None:
        raise ValueError(
            f'{checkpoint}: {type(tokenizer).__name__} is a tokenizer in Python, which cannot be '
            'written to a file; train with one of the tokenizers library'
        )
    return text


def _check_same(loaded: LoadedModel, written: LoadedModel, checkpoint: Path) -> None:
    """Compare what the checkpoint and the folder give.

    Raises:
        RuntimeError: they differ.
    """
    vectors = []
    with torch.no_grad():
        for model in (loaded, written):
            noise = np.random.default_rng(0).integers(256, size=(96, 128, 3), dtype=np.uint8)
            items = [
                Item(PictureReader(model.pictures)(noise)),
                Item(text='A red mug, 330 ml (2 pieces)'),
            ]
            found = ModelTasks(model.model, model.tokenize).encode()(items)
            vectors.append(np.array([result['vector'] for result in found]))
    ours, theirs = used_weights(loaded.model), used_weights(written.model)
    same = ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
    if not same or np.abs(vectors[0] - vectors[1]).max() > TOLERANCE:
        raise RuntimeError(
            f'{checkpoint}: the folder would give other vectors than the checkpoint; nothing was '
            'written. Please report this'
        )
