"""Completing an evaluation config by what the checkpoint says of itself.

Configs under ``configs/evaluation`` name data and metrics, and serve any
model: what belongs to it, the model itself, the pipeline of its pictures and
its tokenizer, comes from the config text that the checkpoint holds.
"""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import print_log

from eclip_mm.checkpoint.metadata import (
    read_meta,
    read_saved_config,
    use_saved_architecture,
    use_saved_tokenizer,
)

#: in the place of a catalogue: that of ``--queries``, without which data set and metrics go
QUERIES = '--queries'


def complete_from_checkpoint(
    cfg, catalogue: str | None, checkpoint: str, queries: str | None = None
) -> dict:
    """Bring a config and the checkpoint that it is to evaluate together.

    A config without a model is filled in, see
    :func:`complete_evaluation_config`. One with a model keeps it, and takes
    only what belongs to the weights: the architecture of encoders that the
    training read from a folder, and the tokenizer.

    Args:
        cfg: ``Config``; changed in place.
        catalogue: path given by ``--catalogue``.
        checkpoint: file.
        queries: path given by ``--queries``.

    Returns:
        What :func:`explaining_checkpoint` explains with.

    Raises:
        KeyError: as :func:`complete_evaluation_config`.
    """
    meta = read_meta(checkpoint)
    if 'model' in cfg:
        use_saved_architecture(cfg.model, meta)
        saved = dict(model=copy.deepcopy(cfg.model))
        known = use_saved_tokenizer(cfg._cfg_dict, meta, checkpoint)
    else:
        saved = read_saved_config(checkpoint)
        known = bool(meta.get('tokenizer'))
    complete_evaluation_config(cfg, saved, catalogue, checkpoint, queries)
    if not known:
        warnings.warn(
            f'{checkpoint} holds no tokenizer (an older version wrote it): it is built anew as '
            'the config says, and nothing can tell whether the vocabulary is still that of the '
            'training',
            stacklevel=2,
        )
    return saved


def complete_evaluation_config(
    cfg, saved: dict, catalogue: str | None, checkpoint: str, queries: str | None = None
) -> None:
    """Fill in what a config without a model leaves open.

    - ``model``: the checkpoint's, with its ``data_preprocessor`` and with
      ``pretrained=None`` everywhere: the checkpoint holds all weights, nothing
      else is to be read.
    - ``pipeline`` of a data set: that of the checkpoint's own test set.
    - ``catalogue`` of a data set that is missing, and of a data set or metric
      that is None: ``--catalogue``.
    - ``catalogue='--queries'`` of a data set: that option. Without it the data
      set is left out, and with it the metrics that take queries from its split.
    - ``tokenizer`` and ``max_length`` of ``ClassPromptHook``: the pipeline's.

    What the config sets, it keeps. Of a config with a model of its own only
    ``pretrained`` changes.

    Args:
        cfg: ``Config`` with ``test_dataloader`` and ``test_evaluator``; changed
            in place.
        saved: the checkpoint's config, see
            :func:`~eclip_mm.checkpoint.config_text.parse_config_text`; empty where
            it has none.
        catalogue: path given by ``--catalogue``.
        checkpoint: for messages.
        queries: path given by ``--queries``.

    Raises:
        KeyError: something is open and nothing fills it, or ``--catalogue``
            or ``--queries`` is given and no place is open for it.
    """
    if 'model' in cfg:
        cfg.model = without_pretrained(cfg.model)
        _check_taken(catalogue, [])
        _fill_queries(cfg, queries)
        return
    cfg.model = without_pretrained(_saved(saved, 'model', 'model', checkpoint))
    if saved.get('data_preprocessor') is not None:  # beside the model, as Runner takes it, too
        cfg.model.setdefault('data_preprocessor', copy.deepcopy(saved['data_preprocessor']))
    _fill_queries(cfg, queries)
    taken = []
    for where, part in [*_datasets(cfg), *_metrics(cfg)]:
        is_dataset = where.startswith('test_dataloader')
        if is_dataset and part.get('pipeline') is None:
            part['pipeline'] = saved_pipeline(saved, f'{where}.pipeline', checkpoint)
        if part.get('catalogue') is None and (is_dataset or 'catalogue' in part):
            if catalogue is None:
                raise KeyError(f'{where}.catalogue is not set: give --catalogue PATH')
            part['catalogue'] = catalogue
            taken.append(where)
    _check_taken(catalogue, taken)
    for number, hook in enumerate(cfg.get('custom_hooks') or ()):
        if hook.get('type') == 'ClassPromptHook' and 'tokenizer' not in hook:
            where = f'custom_hooks.{number}.tokenizer'
            pipeline = saved_pipeline(saved, where, checkpoint)
            text = next((t for t in pipeline if t.get('type') == 'TokenizeText'), None)
            if text is None:
                raise KeyError(
                    f'{where} is not set, and the test pipeline in {checkpoint} has no '
                    'TokenizeText to take it from; set it in the config'
                )
            hook.update({key: value for key, value in text.items() if key != 'type'})


def _check_taken(catalogue: str | None, taken: list[str]) -> None:
    if catalogue is not None and not taken:
        raise KeyError(
            '--catalogue fills what an evaluation config leaves open, but every catalogue of this '
            'config is set; use --cfg-options test_dataloader.dataset.catalogue=PATH'
        )


def _fill_queries(cfg, queries: str | None) -> None:
    """``--queries`` for the data sets that wait for it, or these and their metrics left out."""
    datasets = _datasets(cfg) if cfg.get('test_dataloader') else ()
    parts = [part for _, part in datasets if part.get('catalogue') == QUERIES]
    if queries is not None:
        if not parts:
            raise KeyError('--queries is given, but no data set of this config is open for it')
        for part in parts:
            part['catalogue'] = queries
    elif parts:
        splits = [part['split'] for part in parts]
        dataset = cfg.test_dataloader.dataset
        dataset.datasets = [part for part in dataset.datasets if part not in parts]
        left = [m for m in cfg.test_evaluator if m.get('query_split') in splits]
        cfg.test_evaluator = [m for m in cfg.test_evaluator if m not in left]
        names = ', '.join(str(metric.get('prefix')) for metric in left)
        print_log(f'without --queries, {names} is left out', logger=None)


def without_pretrained(model: dict) -> dict:
    """A copy of a model's config that reads no initial weights.

    The encoders then take their architecture from ``model_type`` and
    ``config``. Where these leave out what the folder of initial weights says
    (a vocabulary of another size), the weights do not fit; see
    :func:`explaining_checkpoint`.
    """
    model = copy.deepcopy(model)
    for part in [model, *(value for value in model.values() if isinstance(value, dict))]:
        if 'pretrained' in part:
            part['pretrained'] = None
    return model


@contextmanager
def explaining_checkpoint(cfg, saved: dict):
    """Say what to do where a checkpoint's model cannot be built or its weights do not fit."""
    try:
        yield
    except (KeyError, RuntimeError, ValueError) as error:
        advice = ''
        known = _imports(cfg)
        imports = [name for name in _imports(saved) if name not in known]
        folders = [
            f'model.{name}.pretrained={part["pretrained"]}'
            for name, part in saved.get('model', {}).items()
            if isinstance(part, dict) and part.get('pretrained')
        ]
        if isinstance(error, KeyError) and imports:
            advice = (
                f'the training imported {imports}, which this evaluation does not: importing runs '
                'code. If you trust it, add --cfg-options '
                f'"custom_imports.imports=[{",".join(imports)}]"'
            )
        elif folders:
            advice = (
                'the training read initial weights, and an evaluation does not. If the '
                'architecture came from them too, write its `model_type` and `config` into the '
                f'training config, or add --cfg-options {" ".join(folders)}'
            )
        if advice:
            error.args = (f'{error.args[0] if error.args else ""}\n({advice})', *error.args[1:])
        raise


def _imports(cfg) -> list[str]:
    imports = (cfg.get('custom_imports') or {}).get('imports') or []
    return [imports] if isinstance(imports, str) else list(imports)


def saved_pipeline(saved: dict, wanted_by: str, checkpoint: str) -> list:
    """The pipeline that the checkpoint's own test set went through (a copy)."""
    datasets = list(_walk(saved.get('test_dataloader', {}).get('dataset', {}), ''))
    pipeline = next((d['pipeline'] for _, d in datasets if d.get('pipeline')), None)
    if pipeline is None:
        pipeline = _saved(saved, 'test_pipeline', wanted_by, checkpoint)
    return copy.deepcopy(pipeline)


def _saved(saved: dict, key: str, wanted_by: str, checkpoint: str):
    if key not in saved:
        raise KeyError(
            f'{wanted_by} is not set, and {checkpoint} holds no config with {key!r} to take it '
            'from; evaluate with the config of the training, or set it in the config'
        )
    return saved[key]


def _datasets(cfg) -> Iterator[tuple[str, dict]]:
    yield from _walk(cfg.test_dataloader.dataset, 'test_dataloader.dataset')


def _walk(dataset: dict, where: str) -> Iterator[tuple[str, dict]]:
    """Data sets inside wrappers such as ConcatDataset, with their dotted places."""
    if 'datasets' in dataset:
        for number, part in enumerate(dataset['datasets']):
            yield from _walk(part, f'{where}.datasets.{number}')
    elif 'dataset' in dataset:
        yield from _walk(dataset['dataset'], f'{where}.dataset')
    else:
        yield where, dataset


def _metrics(cfg) -> Iterator[tuple[str, dict]]:
    metrics = cfg.test_evaluator
    for number, metric in enumerate(metrics if isinstance(metrics, list) else [metrics]):
        yield f'test_evaluator.{number}', metric
