"""Completing an evaluation config with the config that is stored in the checkpoint.

Configs under ``configs/evaluation`` name data and metrics, so they can be used
with any model. The model, the pipeline of its pictures and its tokenizer come
from the config text in the checkpoint.
"""

import copy
import warnings
from collections.abc import Iterator

from mmengine.logging import print_log

from eclip_mm.checkpoint.metadata import (
    read_meta,
    read_saved_config,
    use_saved_architecture,
    use_saved_tokenizer,
)
from eclip_mm.config.data_sets import walk_data_sets
from eclip_mm.config.feature_cache import plain_pipeline

#: value of ``catalogue`` that stands for the path given by ``--queries``
QUERIES = '--queries'


def complete_from_checkpoint(
    cfg, catalogue: str | None, checkpoint: str, queries: str | None = None
) -> dict:
    """Complete a config with the checkpoint that it is to evaluate.

    A config without a model is filled in by :func:`complete_evaluation_config`. A
    config with a model keeps it, and takes from the checkpoint only what belongs to
    the weights: the tokenizer, and the architecture of encoders that the training
    read from a folder.

    Args:
        cfg: ``Config``; changed in place.
        catalogue: path given by ``--catalogue``.
        checkpoint: path of the checkpoint.
        queries: path given by ``--queries``.

    Returns:
        The config of the training, for
        :func:`~eclip_mm.config.errors.explain_checkpoint_errors`.

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
            f'{checkpoint} has no tokenizer, since an older version wrote it. The tokenizer is '
            'built from the config, and it cannot be checked that its vocabulary is still that '
            'of the training',
            stacklevel=2,
        )
    return saved


def complete_evaluation_config(
    cfg, saved: dict, catalogue: str | None, checkpoint: str, queries: str | None = None
) -> None:
    """Fill in what a config without a model does not set.

    - ``model`` is taken from the checkpoint, with its ``data_preprocessor`` and with
      ``pretrained=None`` everywhere, since the checkpoint has all weights.
    - ``pipeline`` of a data set is that of the test set in the checkpoint's config.
    - ``catalogue`` is the path of ``--catalogue``, in data sets where it is missing
      or None and in metrics where it is None.
    - ``catalogue='--queries'`` of a data set is the path of ``--queries``. Without
      this option the data set is removed, and so are the metrics whose
      ``query_split`` it is, unless no metric would be left.
    - ``tokenizer`` and ``max_length`` of ``ClassPromptHook`` are those of the pipeline.

    What the config sets is kept. In a config that has its own model, only
    ``pretrained`` and ``catalogue='--queries'`` are changed.

    Args:
        cfg: ``Config`` with ``test_dataloader`` and ``test_evaluator``; changed
            in place.
        saved: the checkpoint's config as
            :func:`~eclip_mm.checkpoint.metadata.read_saved_config` returns it; empty
            if the checkpoint has none.
        catalogue: path given by ``--catalogue``.
        checkpoint: path of the checkpoint, for errors.
        queries: path given by ``--queries``.

    Raises:
        KeyError: something is not set and the checkpoint does not have it,
            ``--catalogue`` or ``--queries`` is given and the config has no place
            for it, or no metric is left without ``--queries``.
    """
    if 'model' in cfg:
        cfg.model = without_pretrained(cfg.model)
        _check_taken(catalogue, [])
        _fill_queries(cfg, queries)
        return
    cfg.model = without_pretrained(_saved(saved, 'model', 'model', checkpoint))
    if saved.get('data_preprocessor') is not None:  # Runner also accepts it outside of the model
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
            '--catalogue is for evaluation configs that do not set a catalogue, but this config '
            'sets all of them; use --cfg-options test_dataloader.dataset.catalogue=PATH'
        )


def _fill_queries(cfg, queries: str | None) -> None:
    """Put ``--queries`` into the data sets that ask for it, or remove these and their metrics."""
    datasets = _datasets(cfg) if cfg.get('test_dataloader') else ()
    parts = [part for _, part in datasets if part.get('catalogue') == QUERIES]
    if queries is not None:
        if not parts:
            raise KeyError("--queries is given, but no data set has catalogue='--queries'")
        for part in parts:
            part['catalogue'] = queries
    elif parts:
        splits = [part['split'] for part in parts]
        dataset = cfg.test_dataloader.dataset
        dataset.datasets = [part for part in dataset.datasets if part not in parts]
        left = [m for m in cfg.test_evaluator if m.get('query_split') in splits]
        cfg.test_evaluator = [m for m in cfg.test_evaluator if m not in left]
        if not cfg.test_evaluator:
            raise KeyError(f'all metrics need the data set {splits[0]!r}: give --queries PATH')
        names = ', '.join(str(metric.get('prefix')) for metric in left)
        print_log(f'{names} is skipped, because --queries is not given', logger=None)


def without_pretrained(model: dict) -> dict:
    """A copy of a model's config with ``pretrained=None`` everywhere.

    A ``pretrained_dual`` that is a path stays, since nothing else says what the model is made of;
    a checkpoint that holds its parts has replaced it before.

    The encoders then take their architecture from ``model_type`` and ``config``. If
    these lack something that the folder of initial weights had, such as the size of
    the vocabulary, the weights of the checkpoint do not fit;
    :func:`~eclip_mm.config.errors.explain_checkpoint_errors` then says what to do.
    """
    model = copy.deepcopy(model)
    for part in [model, *(value for value in model.values() if isinstance(value, dict))]:
        if 'pretrained' in part:
            part['pretrained'] = None
    return model


def saved_pipeline(saved: dict, wanted_by: str, checkpoint: str) -> list:
    """A copy of the pipeline of the test set in the checkpoint's config.

    Raises:
        KeyError: the checkpoint's config has no pipeline. It names ``wanted_by``.
    """
    datasets = list(walk_data_sets(saved.get('test_dataloader', {}).get('dataset', {}), ''))
    pipeline = next((d['pipeline'] for _, d in datasets if d.get('pipeline')), None)
    if pipeline is None:
        pipeline = _saved(saved, 'test_pipeline', wanted_by, checkpoint)
    return copy.deepcopy(plain_pipeline(pipeline))


def _saved(saved: dict, key: str, wanted_by: str, checkpoint: str):
    if key not in saved:
        raise KeyError(
            f'{wanted_by} is not set, and {checkpoint} has no config with {key!r} to take it '
            'from; evaluate with the config of the training, or set it in the config'
        )
    return saved[key]


def _datasets(cfg) -> Iterator[tuple[str, dict]]:
    yield from walk_data_sets(cfg.test_dataloader.dataset, 'test_dataloader.dataset')


def _metrics(cfg) -> Iterator[tuple[str, dict]]:
    metrics = cfg.test_evaluator
    for number, metric in enumerate(metrics if isinstance(metrics, list) else [metrics]):
        yield f'test_evaluator.{number}', metric
