"""Whether every batch has enough products to contrast."""

from torch import nn


def products_needed(model: nn.Module) -> tuple[int, str]:
    """Least number of different products in a global batch, and what needs them."""
    needed, why = 1, ''
    for name, head in getattr(model, 'heads', {}).items():
        if getattr(head, 'min_products', 1) > needed:
            needed = head.min_products
            why = f'pretext_heads.{name}, which contrasts products,'
    prompts = getattr(model, 'prompts', None)
    num_queries = getattr(prompts, 'num_queries', 1)
    if num_queries > needed:
        needed, why = num_queries, f'queries.num_queries={num_queries}, each with its own product,'
    return needed, why


def check_batches(model: nn.Module, loader, world_size: int) -> None:
    """Check that the batches of a training, also the last one, have enough products.

    Args:
        model: an ``ECLIP``; other models pass.
        loader: of the training.
        world_size: number of ranks.

    Raises:
        ValueError: a batch has too few.
    """
    if not hasattr(model, 'heads'):
        return
    needed, why = products_needed(model)
    batch = loader.batch_size * world_size
    of_ranks = f' on {world_size} ranks' if world_size > 1 else ''
    if batch < needed:
        raise ValueError(
            f'train_dataloader.batch_size={loader.batch_size}{of_ranks} is too small: {why} needs '
            f'{needed} different products in a batch; raise batch_size to at least '
            f'{-(-needed // world_size)}'
        )
    distractors = getattr(model, 'num_distractors', 0)
    if distractors >= loader.batch_size:
        raise ValueError(
            f'train_dataloader.batch_size={loader.batch_size} is too small: num_distractors='
            f'{distractors} needs {distractors + 1} pictures on each rank'
        )
    if not hasattr(loader.dataset, '__len__') or hasattr(loader.dataset, 'layout'):
        return  # a stream yields full batches, and may not know its length
    if len(loader.dataset) < needed:
        raise ValueError(
            f'the training catalogue has {len(loader.dataset)} products: {why} needs {needed} '
            'different ones in a batch'
        )
    rest = 0 if loader.drop_last else len(loader.sampler) % loader.batch_size
    if rest and (rest * world_size < needed or rest <= distractors):
        raise ValueError(
            f'{len(loader.sampler)} products in batches of {loader.batch_size}{of_ranks} leave a '
            f'last batch of {rest}, and {why or "num_distractors"} needs '
            f'{max(needed, distractors + 1)}: set train_dataloader.drop_last=True'
        )
