"""What ``/metrics`` reports, in Prometheus' text format."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """Figures of one service.

    Attributes:
        requests: answers by path and status.
        seconds: time of answers by path.
        running: requests that are received, wait or run.
        batch: inputs of each batch.
        dropped: requests whose client went away.
    """

    def __init__(self) -> None:
        own = CollectorRegistry()
        self._registry = own
        self.requests = Counter(
            'eclip_requests', 'Answers by path and status.', ['path', 'status'], registry=own
        )
        self.seconds = Histogram(
            'eclip_request_seconds', 'Time of answers by path.', ['path'], registry=own
        )
        self.running = Gauge('eclip_requests_running', 'Requests in the service.', registry=own)
        self.batch = Histogram(
            'eclip_batch_inputs',
            'Inputs of each batch.',
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=own,
        )
        self.dropped = Counter(
            'eclip_requests_dropped', 'Requests whose client went away.', registry=own
        )

    def text(self) -> bytes:
        """All figures."""
        return generate_latest(self._registry)
