"""Scheduler of jobs in separate processes, several at a time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from eclip_mm.utils.cpus import num_cpus

COMMAND = (sys.executable, '-m', 'eclip_mm.comparison.job')
TAIL = 15  # lines of a failed job's log


@dataclass(frozen=True)
class Job:
    """A process to run.

    Attributes:
        name: name in the progress lines.
        kind: ``train`` or ``test``; jobs of the same kind take about the same
            time.
        folder: folder of its ``log.txt``.
        args: arguments of ``python -m eclip_mm.comparison.job`` after the
            folder.
        needs: folder of a job that must succeed first.
    """

    name: str
    kind: str
    folder: Path
    args: tuple = ()
    needs: Path | None = None


def remaining_seconds(
    known: dict[str, list[float]],
    waiting: Sequence[Job],
    running: dict[Job, float],
    num_workers: int,
) -> float | None:
    """Estimate the seconds until all jobs are done.

    Args:
        known: kind -> durations of finished jobs of this kind in seconds.
        waiting: jobs that have not started.
        running: job -> seconds since its start.
        num_workers: number of jobs at a time.

    Returns:
        Seconds; None if no job of some kind has finished yet.
    """
    jobs = [*((job, 0.0) for job in waiting), *running.items()]
    if not all(known.get(job.kind) for job, _ in jobs):
        return None
    left = [max(0.0, fmean(known[job.kind]) - elapsed) for job, elapsed in jobs]
    return max(sum(left) / num_workers, max(left))


class Scheduler:
    """Runs jobs in worker processes, ``num_workers`` at a time.

    Several trainings with more threads than cores slow each other down many
    times over, so each gets ``OMP_NUM_THREADS`` = cores / workers. If there
    are GPUs, worker k uses GPU k (modulo their number).

    Args:
        num_workers: number of jobs at a time.
        say: receives the progress lines.
    """

    def __init__(self, num_workers: int, say: Callable[[str], None] = print):
        self.num_workers = num_workers
        self.say = say
        self._seconds: dict[str, list[float]] = {}
        self._running: dict[int, tuple[Job, subprocess.Popen, float]] = {}

    def run(self, jobs: Sequence[Job], done: Callable[[Job], None] = lambda job: None) -> dict:
        """Run jobs in their order; a job that needs another waits for it.

        Args:
            jobs: jobs to run.
            done: called after each successful job.

        Returns:
            Failed job -> reason, with the end of its log.

        Raises:
            KeyboardInterrupt: raised after all processes have been ended.
        """
        waiting, failed, num_done = list(jobs), {}, 0
        try:
            while waiting or self._running:
                self._start_next(waiting, failed)
                for worker, (job, process, start) in list(self._running.items()):
                    if process.poll() is None:
                        continue
                    del self._running[worker]
                    seconds = time.time() - start
                    if process.returncode == 0:
                        self._seconds.setdefault(job.kind, []).append(seconds)
                        done(job)
                        num_done += 1
                        outcome = f'done in {show_seconds(seconds)}'
                    else:
                        failed[job] = _tail(job.folder / 'log.txt', process.returncode)
                        outcome = f'FAILED\n{failed[job]}'
                    count = f'[{num_done + len(failed)}/{len(jobs)}]'
                    self.say(f'{count} {job.name}: {outcome}{self._left(waiting)}')
                time.sleep(0.2 if self._running else 0)
        finally:
            self._end_all()
        return failed

    def _start_next(self, waiting: list[Job], failed: dict) -> None:
        """Start jobs on idle workers; a job that needs a failed one fails as well."""
        for job in list(waiting):
            unfinished = {other.folder for other in waiting}
            unfinished |= {other.folder for other, _, _ in self._running.values()}
            if job.needs in {bad.folder for bad in failed}:
                waiting.remove(job)
                failed[job] = f'it needs {job.needs}, which failed'
                self.say(f'{job.name}: FAILED, {failed[job]}')
            elif job.needs not in unfinished and len(self._running) < self.num_workers:
                waiting.remove(job)
                worker = min(set(range(self.num_workers)) - set(self._running))
                process = _start(job, worker, self.num_workers)
                self._running[worker] = (job, process, time.time())
                self.say(f'      {job.name}: started, {job.folder / "log.txt"}')

    def _left(self, waiting: list[Job]) -> str:
        now = time.time()
        running = {job: now - start for job, _, start in self._running.values()}
        if not waiting and not running:
            return ''
        seconds = remaining_seconds(self._seconds, waiting, running, self.num_workers)
        left = f'; {len(waiting) + len(running)} to go'
        return left if seconds is None else f'{left}, about {show_seconds(seconds)}'

    def _end_all(self) -> None:
        processes = [process for _, process, _ in self._running.values()]
        for process in processes:  # each has a session, so its loader workers end with it
            _signal(process, signal.SIGTERM)
        for process in processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                pass
            _signal(process, signal.SIGKILL)
            process.wait()
        self._running.clear()


def show_seconds(seconds: float) -> str:
    """Format seconds as ``42 s``, ``12 min`` or ``3 h 5 min``."""
    if seconds < 120:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 60 else f'{minutes // 60} h {minutes % 60} min'


def _start(job: Job, worker: int, num_workers: int) -> subprocess.Popen:
    root = Path(__file__).resolve().parents[2]  # for custom_imports such as projects.filip
    threads = str(max(1, num_cpus() // num_workers))
    env = dict(os.environ, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
    env['PYTHONPATH'] = os.pathsep.join(filter(None, [str(root), os.environ.get('PYTHONPATH')]))
    env['PYTHONUNBUFFERED'] = '1'
    if gpus := visible_gpus():
        env['CUDA_VISIBLE_DEVICES'] = gpus[worker % len(gpus)]
    job.folder.mkdir(parents=True, exist_ok=True)
    with open(job.folder / 'log.txt', 'a') as log:
        return subprocess.Popen(
            [*COMMAND, str(job.folder), *job.args, '--parent', str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,  # Ctrl-C reaches only this process, which ends the job
        )


def visible_gpus() -> list[str]:
    """Return a value of CUDA_VISIBLE_DEVICES for each GPU of this process."""
    import torch

    named = [gpu for gpu in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',') if gpu]
    return named or [str(index) for index in range(torch.cuda.device_count())]


def _signal(process: subprocess.Popen, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def _tail(log: Path, code: int) -> str:
    lines = log.read_text(errors='replace').splitlines()[-TAIL:]
    return '\n'.join([f'exit code {code}, the end of {log}:', *(f'    {line}' for line in lines)])
