"""``feature_cache`` of a config: pipelines that read features of frozen towers."""

from collections.abc import Iterator

from eclip_mm.config.data_sets import walk_data_sets

LOADERS = ('LoadProductImages', 'LoadCroppedImages')
#: transforms that stand behind those of pictures
LATER = ('TokenizeText', 'PackProductInputs')
DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
KEYS = ('folder', 'views', 'seed')


def use_feature_cache(cfg) -> None:
    """Let all data sets of a config with ``feature_cache`` read features, in place.

    ``feature_cache=dict(folder='work_dirs/x/cache', views=8)`` names the folder that
    ``tools/cache_features.py`` fills, and how many augmented views of a picture training has.
    The text encoder remembers the features of texts if ``model.freeze.text='all'``.

    Args:
        cfg: ``Config``; without ``feature_cache`` nothing changes.

    Raises:
        KeyError: ``feature_cache`` has an unknown key or no folder.
        ValueError: a pipeline does not load pictures.
    """
    if not cfg.get('feature_cache'):
        return
    cache_pictures(cfg, cfg.feature_cache.get('folder'))
    hooks = [hook for hook in cfg.get('custom_hooks') or () if hook['type'] != 'FeatureCacheHook']
    cfg.custom_hooks = [*hooks, dict(type='FeatureCacheHook', folder=cfg.feature_cache.folder)]
    model = cfg.get('model') or {}
    text = model.get('text_encoder') or {}
    # others, such as a user's own, do not know the option
    can_remember = text.get('type', '').split('.')[-1] == 'TransformersTextEncoder'
    if can_remember and (model.get('freeze') or {}).get('text') == 'all':
        text.setdefault('remember', 100_000)


def cache_pictures(cfg, folder: str | None) -> list[dict]:
    """Wrap the picture transforms of all data sets in ``CachedPictures``, in place.

    Args:
        cfg: ``Config`` with ``feature_cache``.
        folder: what they read; None for pictures.

    Returns:
        The configs of the data sets.
    """
    options = dict(cfg.feature_cache)
    if unknown := sorted(options.keys() - set(KEYS)):
        raise KeyError(f'feature_cache has unknown keys {unknown}; known: {", ".join(KEYS)}')
    if not options.get('folder'):
        raise KeyError("feature_cache needs folder, such as dict(folder='work_dirs/cache')")
    options['folder'] = folder
    found = []
    for name, dataset in _datasets(cfg):
        is_training = name == 'train_dataloader'
        views = options.get('views', 1) if is_training else 1
        dataset['pipeline'] = wrap_pipeline(
            dataset['pipeline'], **{**options, 'views': views, 'show_picture': not is_training}
        )
        found.append(dataset)
    return found


def read_pictures(cfg) -> None:
    """Let all data sets of a config read pictures, in place.

    The config in a work dir has the pipelines that its training had, which may read a cache.
    """
    for _, dataset in _datasets(cfg):
        dataset['pipeline'] = plain_pipeline(dataset['pipeline'])


def wrap_pipeline(pipeline: list[dict], **options) -> list[dict]:
    """A pipeline whose picture transforms are those of one ``CachedPictures``.

    These are the transforms from the one that loads pictures up to ``TokenizeText`` or
    ``PackProductInputs``.

    Args:
        pipeline: configs of transforms; it may be wrapped already.
        options: arguments of ``CachedPictures``.
    """
    pipeline = plain_pipeline(pipeline)
    types = [transform['type'] for transform in pipeline]
    start = next((k for k, kind in enumerate(types) if kind in LOADERS), None)
    if start is None:
        raise ValueError(
            f'feature_cache: the pipeline {types} has none of {", ".join(LOADERS)} to cache'
        )
    stop = next((k for k in range(start, len(types)) if types[k] in LATER), len(types))
    wrapped = dict(type='CachedPictures', transforms=pipeline[start:stop], **options)
    return [*pipeline[:start], wrapped, *pipeline[stop:]]


def plain_pipeline(pipeline: list[dict]) -> list[dict]:
    """The pipeline with the transforms of ``CachedPictures`` in its place."""
    plain = []
    for transform in pipeline:
        plain += transform['transforms'] if transform['type'] == 'CachedPictures' else [transform]
    return plain


def _datasets(cfg) -> Iterator[tuple[str, dict]]:
    """Loader and config of every data set with a pipeline."""
    for name in DATALOADERS:
        if cfg.get(name):
            for _, dataset in walk_data_sets(cfg[name]['dataset']):
                if dataset.get('pipeline'):
                    yield name, dataset
