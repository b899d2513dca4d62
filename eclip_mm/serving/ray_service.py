"""The service as a deployment of Ray Serve, for more than one machine.

    serve run eclip_mm.serving.ray_service:application model=my_model index=my/index replicas=4

Each replica has its own model, thread and queue.
"""

import os

from ray import serve

from eclip_mm.apis import Eclip
from eclip_mm.index import open_index
from eclip_mm.serving.app import build_app
from eclip_mm.serving.limits import Limits
from eclip_mm.utils.memory import reuse_freed_memory


@serve.deployment
@serve.ingress()
class EclipDeployment:
    """What :func:`~eclip_mm.serving.build_app` builds, in a replica.

    Args:
        model: checkpoint or folder of a model, on every machine.
        index: address of an index, a folder on every machine or a database; None for no search.
    """

    def __init__(self, model: str, index: str | None = None) -> None:
        reuse_freed_memory()
        self._model, self._index = model, index

    def __serve_build_asgi_app__(self):
        """The application; Ray Serve calls this in the replica."""
        index = None if self._index is None else open_index(self._index)
        return build_app(Eclip(self._model), index, key=os.environ.get('ECLIP_MM_API_KEY'))


def application(args: dict) -> serve.Application:
    """What ``serve run`` starts.

    Args:
        args: ``model``, and optionally ``index`` and ``replicas``.
    """
    limits = Limits()
    deployment = EclipDeployment.options(
        num_replicas=int(args.get('replicas', 1)),
        # twice as many reach the replica as it admits, so that it refuses the others with 429
        max_ongoing_requests=2 * limits.requests,
    )
    return deployment.bind(args['model'], args.get('index'))
