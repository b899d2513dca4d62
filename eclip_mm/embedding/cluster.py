"""Embedding on a cluster: Ray Data hands out slices, and any machine writes their shards."""

from collections.abc import Iterator
from dataclasses import asdict

from eclip_mm.utils.env_check import check_ray

from .job import EmbedOptions, ShardEmbedder
from .slices import Slice


class RayShardEmbedder:
    """A worker of Ray Data; arguments as :class:`ShardEmbedder`."""

    def __init__(self, options: EmbedOptions, num_shards: int) -> None:
        self.embedder = ShardEmbedder(options, num_shards)

    def __call__(self, row: dict) -> dict:
        return self.embedder(Slice(**row))


def run_on_ray(
    options: EmbedOptions,
    num_shards: int,
    missing: list[Slice],
    address: str | None = None,
    num_models: int = 1,
) -> Iterator[dict]:
    """Embed slices on a Ray cluster; yields their counts as they are done.

    A task is a slice: what travels is its numbers, the machines read the
    catalogue and write the shards themselves. Both, and config and checkpoint,
    must have the same paths on all of them. A task whose machine died is
    repeated by Ray.

    Args:
        options, num_shards, missing: As for
            :func:`~eclip_mm.embedding.job.run_here`.
        address (str): Of a running cluster, ``auto`` for the one of this
            machine; None starts one here.
        num_models (int): Workers with a model each; on GPUs one a GPU.
    """
    check_ray()
    import ray

    started = not ray.is_initialized()
    if started:
        ray.init(address=address, log_to_driver=False)
    try:
        on_gpu = 'GPU' in ray.cluster_resources() and options.device in (None, 'cuda')
        rows = ray.data.from_items(
            [asdict(part) for part in missing], override_num_blocks=len(missing)
        )
        made = rows.map(
            RayShardEmbedder,
            fn_constructor_kwargs=dict(options=options, num_shards=num_shards),
            compute=ray.data.ActorPoolStrategy(size=min(num_models, len(missing))),
            num_cpus=max(1, options.num_workers),
            num_gpus=1 if on_gpu else None,
        )
        yield from made.iter_rows()
    finally:
        if started:
            ray.shutdown()
