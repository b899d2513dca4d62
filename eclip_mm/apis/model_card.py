"""The card of an exported model: what it is, what it was made from, how good it is."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from eclip_mm.apis.onnx_model import OnnxDescription
from eclip_mm.apis.onnx_parity import Parity
from eclip_mm.checkpoint.model_folder import SUMS, ModelFolder
from eclip_mm.checkpoint.towers.folder import CARD
from eclip_mm.checkpoint.towers.known import find_packaged
from eclip_mm.utils.config_text import parse_config_text
from eclip_mm.visualization.table import metrics_table

UNKNOWN = 'not known'


def card_text(
    name: str,
    content: ModelFolder,
    meta: Mapping,
    metrics: Mapping[str, float] | None,
    licence: str | None,
    graphs: OnnxDescription | None = None,
) -> str:
    """
    Args:
        name: of the model.
        content: what the folder holds.
        meta: ``meta`` of the checkpoint.
        metrics: figures of an evaluation.
        licence: SPDX identifier of the licence of the weights.
        graphs: ONNX graphs in the folder.
    """
    cfg = parse_config_text(meta['cfg'], 'the config in the checkpoint')
    million = sum(weight.numel() for weight in content.weights.values()) / 1e6
    kind, width = content.model['type'], content.model.get('embed_dims', 512)
    versions = ', '.join(f'{key} {value}' for key, value in content.versions.items())
    lines = [
        '---',
        *([f'license: {licence}'] if licence else []),
        'library_name: eclip_mm',
        '---',
        '',
        f'# {name}',
        '',
        f'{kind} model of {million:.1f} M parameters. It gives vectors of {width} dimensions for '
        'pictures, texts and products in pictures, and finds named products in a picture.',
        '',
        f'- Licence of the weights: {licence or "not stated"}',
        f'- Checkpoint: `{content.checkpoint["name"]}`, sha256 {content.checkpoint["sha256"]}',
        f'- Written with: {versions}',
        f'- `sha256sum -c {SUMS}` checks the files',
        '',
        '```python',
        'from eclip_mm import Eclip',
        '',
        f"eclip = Eclip('{name}')",
        "eclip.encode(['red mug', 'shelf.jpg'])",
        "eclip.locate('shelf.jpg', ['red mug', 'blue bowl'])",
        '```',
        '',
        '## Data',
        '',
        *_data(cfg, meta),
        '',
        '## Towers',
        '',
        '| tower | model | initial weights | licence of these |',
        '|---|---|---|---|',
        *_towers(cfg.get('model') or {}, content.model),
        '',
        '## Metrics',
        '',
        *_figures(metrics),
        '',
        *(_graphs(graphs) if graphs is not None else ()),
    ]
    return '\n'.join(lines)


def _graphs(graphs: OnnxDescription) -> Iterator[str]:
    parity = Parity(**graphs.parity)
    height, width = graphs.picture
    yield '## ONNX'
    yield ''
    yield (
        f"`Eclip(folder, backend='onnx')` runs these graphs, in {graphs.precision}, for any batch "
        f'size and pictures of {height} x {width} pixels (uint8, RGB, not normalised):'
    )
    yield ''
    yield from (f'- `{name}`' for name in graphs.files()[1:])
    yield ''
    yield f'They were compared with the weights on {parity.pairs} pictures and their texts:'
    yield ''
    yield from parity.lines()
    yield ''


def find_licence(source: str) -> str:
    """Licence of initial weights: of the card in their folder, or of a tower that is known."""
    card = Path(source) / CARD
    if card.is_file():
        found = re.search(r'^license: *(\S.*)$', card.read_text(encoding='utf-8'), re.M)
        if found:
            return found[1].strip()
    tower = find_packaged(Path(source).name)
    return tower.licence if tower is not None else UNKNOWN


def _data(cfg: Mapping, meta: Mapping) -> Iterator[str]:
    catalogues = sorted(_catalogues((cfg.get('train_dataloader') or {}).get('dataset')))
    yield f'- Trained on: {", ".join(f"`{path}`" for path in catalogues) or UNKNOWN}'
    batch = (meta.get('training') or {}).get('batch_size')
    steps = meta.get('iter')
    if steps is not None:
        products = f' of {batch} products' if batch else ''
        yield f'- {steps} steps{products}, {meta.get("epoch", UNKNOWN)} epochs'


def _catalogues(node) -> Iterator[str]:
    """Catalogues of a data set's config, also inside of others."""
    if isinstance(node, Mapping):
        found = node.get('catalogue')
        yield from (found if isinstance(found, (list, tuple)) else [found] if found else [])
        node = [node.get('dataset'), *(node.get('datasets') or ())]
        for part in node:
            yield from _catalogues(part)


def _towers(trained: Mapping, model: Mapping) -> Iterator[str]:
    dual = trained.get('pretrained_dual')
    dual = dual.get('pretrained') if isinstance(dual, Mapping) else dual
    for name in ('image_encoder', 'text_encoder'):
        source = dual or (trained.get(name) or {}).get('pretrained')
        kind = (model.get(name) or {}).get('model_type') or UNKNOWN
        start = f'`{source}` | {find_licence(source)}' if source else 'random |'
        yield f'| {name.removesuffix("_encoder")} | {kind} | {start} |'


def _figures(metrics: Mapping[str, float] | None) -> list[str]:
    if metrics is None:
        return ['None were given.']
    interval = ' [95% interval]' if any(key.endswith('_low') for key in metrics) else ''
    return [metrics_table({f'value{interval}': metrics}, markdown=True)]
