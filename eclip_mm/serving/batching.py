"""Inputs of several requests in one batch, on one thread that owns the model."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field


@dataclass
class _Job:
    key: Hashable
    inputs: list
    future: Future = field(default_factory=Future)


class MicroBatcher:
    """Collects jobs and runs those of the same key together.

    The job that came first is in the next batch, so that no key starves another. A batch waits
    for others only while more requests are expected than there are jobs. Jobs that are cancelled
    before their batch begins are dropped.

    Args:
        run: called as ``run(key, inputs)`` on the thread; gives one result an input, in order.
            What it raises is raised in all jobs of the batch.
        size: number of inputs in a batch; a longer job is a batch of its own.
        wait: longest time to wait for a full batch, in seconds.
        observe: called with the number of inputs of each batch.
    """

    def __init__(
        self,
        run: Callable[[Hashable, list], list],
        size: int,
        wait: float,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._run, self._size, self._wait, self._observe = run, size, wait, observe
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed, self._expected = False, 0
        self._thread = threading.Thread(target=self._work, name='eclip-model', daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def expect(self, requests: int) -> None:
        """Tell how many requests are under way, with those whose jobs wait or run."""
        with self._changed:
            self._expected = requests
            self._changed.notify()

    def close(self) -> None:
        """Finish the jobs that wait, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    async def submit(self, key: Hashable, inputs: list) -> list:
        """Results of the inputs; cancelling it drops the job.

        Raises:
            RuntimeError: the batcher is closed.
        """
        job = _Job(key, inputs)
        with self._changed:
            if self._closed:
                raise RuntimeError('the service is closed')
            self._jobs.append(job)
            self._changed.notify()
        return await asyncio.wrap_future(job.future)

    def _work(self) -> None:
        while batch := self._next_batch():
            inputs = [value for job in batch for value in job.inputs]
            self._observe(len(inputs))
            try:
                results = iter(self._run(batch[0].key, inputs))
            except BaseException as error:
                for job in batch:
                    job.future.set_exception(error)
                continue
            for job in batch:
                job.future.set_result([next(results) for _ in job.inputs])

    def _next_batch(self) -> list[_Job]:
        """Jobs of one key that are marked as running; empty when the batcher is closed."""
        with self._changed:
            while True:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if not self._jobs:
                    return []
                self._await_others(self._jobs[0].key)
                if batch := self._pick(self._jobs[0].key):
                    return batch

    def _await_others(self, key: Hashable) -> None:
        deadline = time.monotonic() + self._wait
        while not self._closed and (left := deadline - time.monotonic()) > 0:
            if self._expected <= len(self._jobs):  # nobody else is coming
                return
            if sum(len(job.inputs) for job in self._jobs if job.key == key) >= self._size:
                return
            self._changed.wait(left)

    def _pick(self, key: Hashable) -> list[_Job]:
        batch, rest, total = [], deque(), 0
        for job in self._jobs:
            if job.future.cancelled():
                continue
            fits = not batch or total + len(job.inputs) <= self._size
            if job.key != key or not fits:
                rest.append(job)
            elif job.future.set_running_or_notify_cancel():
                batch.append(job)
                total += len(job.inputs)
        self._jobs = rest
        return batch
