"""The data sets of a loader's config."""

from collections.abc import Iterator


def walk_data_sets(dataset: dict, where: str = '') -> Iterator[tuple[str, dict]]:
    """Data sets inside wrappers such as ConcatDataset, with their dotted keys.

    Args:
        dataset: config of a data set or of a wrapper.
        where: key of ``dataset``.
    """
    if 'datasets' in dataset:
        for number, part in enumerate(dataset['datasets']):
            yield from walk_data_sets(part, f'{where}.datasets.{number}')
    elif 'dataset' in dataset:
        yield from walk_data_sets(dataset['dataset'], f'{where}.dataset')
    else:
        yield where, dataset
