"""Embedding on a cluster: Ray Data hands out row ranges, and any machine writes their shards."""

from collections.abc import Iterator
from dataclasses import asdict

from eclip_mm.embedding.job import EmbedOptions, ShardEmbedder
from eclip_mm.embedding.row_ranges import RowRange
from eclip_mm.utils.env_check import check_ray
from eclip_mm.utils.memory import reuse_freed_memory


class RayShardEmbedder:
    """A worker of Ray Data; its arguments are those of :class:`ShardEmbedder`."""

    def __init__(self, options: EmbedOptions, num_shards: int) -> None:
        reuse_freed_memory()
        self.embedder = ShardEmbedder(options, num_shards)

    def __call__(self, row: dict) -> dict:
        return self.embedder(RowRange(**row))


class RayRun:
    """Embeds row ranges on a Ray cluster: a ``run`` of ``embed_catalogue``.

    A task is a row range: only its numbers travel, and the machines read the catalogue and write
    the shards themselves. Catalogue, output folder, config and checkpoint must have the same paths
    on all of them. Ray repeats a task whose machine died.

    Args:
        address: address of a running cluster, ``auto`` for the one of this machine; None starts
            one here.
        num_models: number of workers, each with a model; on GPUs, one for each GPU.
    """

    def __init__(self, address: str | None = None, num_models: int = 1) -> None:
        self.address = address
        self.num_models = num_models
        self.started = False

    def device(self) -> str:
        """``cuda`` if the cluster has GPUs, whatever this machine has, otherwise ``cpu``."""
        return 'cuda' if 'GPU' in self._ray().cluster_resources() else 'cpu'

    def __call__(
        self, options: EmbedOptions, num_shards: int, missing: list[RowRange]
    ) -> Iterator[dict]:
        """Yield the counts of row ranges as they are done; arguments as for ``run_here``."""
        ray = self._ray()
        try:
            on_gpu = 'GPU' in ray.cluster_resources() and options.device == 'cuda'
            rows = ray.data.from_items(
                [asdict(row_range) for row_range in missing], override_num_blocks=len(missing)
            )
            made = rows.map(
                RayShardEmbedder,
                fn_constructor_kwargs=dict(options=options, num_shards=num_shards),
                compute=ray.data.ActorPoolStrategy(size=min(self.num_models, len(missing))),
                num_cpus=max(1, options.num_workers or 0),
                num_gpus=1 if on_gpu else None,
            )
            yield from made.iter_rows()
        finally:
            if self.started:
                ray.shutdown()
                self.started = False

    def _ray(self):
        check_ray()
        import ray

        if not ray.is_initialized():
            ray.init(address=self.address, log_to_driver=False)
            self.started = True
        return ray
