"""Runs jobs in processes of their own, some at a time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

COMMAND = (sys.executable, '-m', 'eclip_mm.comparison.job')
TAIL = 15  # lines of a failed job's log


@dataclass(frozen=True)
class Job:
    """A process to run.

    Attributes:
        name: for the progress lines.
        kind: what it does, ``train`` or ``test``: jobs of the same kind take
            about as long as each other.
        folder: where its ``log.txt`` goes.
        args: of ``python -m eclip_mm.comparison.job``, after the folder.
        needs: folder of the job that must have gone well before.
    """

    name: str
    kind: str
    folder: Path
    args: tuple = ()
    needs: Path | None = None


def remaining_seconds(
    known: dict[str, list[float]], waiting: Sequence[Job], running: dict[Job, float], slots: int
) -> float | None:
    """Seconds until all is done.

    Args:
        known: kind -> seconds that finished jobs of it took.
        waiting: jobs to come.
        running: job -> seconds that it has run.
        slots: jobs at a time.

    Returns:
        None where nothing is known of a kind.
    """
    jobs = [*((job, 0.0) for job in waiting), *running.items()]
    if not all(known.get(job.kind) for job, _ in jobs):
        return None
    left = [max(0.0, fmean(known[job.kind]) - elapsed) for job, elapsed in jobs]
    return max(sum(left) / slots, max(left))


class Scheduler:
    """Runs jobs, ``slots`` at a time, each with its share of the cores.

    Several trainings with more threads than cores slow each other down many
    times over, so each gets ``OMP_NUM_THREADS`` = cores / slots. Where there
    are GPUs, slot k uses GPU k (modulo their number).

    Args:
        slots: jobs at a time.
        say: takes the progress lines.
    """

    def __init__(self, slots: int, say: Callable[[str], None] = print):
        self.slots = slots
        self.say = say
        self._seconds: dict[str, list[float]] = {}
        self._running: dict[int, tuple[Job, subprocess.Popen, float]] = {}

    def run(self, jobs: Sequence[Job], done: Callable[[Job], None] = lambda job: None) -> dict:
        """Run jobs in their order; one that needs another waits for it.

        Args:
            jobs: what to run.
            done: called after each that went well.

        Returns:
            Job -> why it failed, the tail of its log.

        Raises:
            KeyboardInterrupt: after the processes have been ended.
        """
        waiting, failed, num_done = list(jobs), {}, 0
        try:
            while waiting or self._running:
                self._start_next(waiting, failed)
                for slot, (job, process, start) in list(self._running.items()):
                    if process.poll() is None:
                        continue
                    del self._running[slot]
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
        """Fill the slots; what needs a job that failed has failed, too."""
        for job in list(waiting):
            unfinished = {other.folder for other in waiting}
            unfinished |= {other.folder for other, _, _ in self._running.values()}
            if job.needs in {bad.folder for bad in failed}:
                waiting.remove(job)
                failed[job] = f'it needs {job.needs}, which failed'
                self.say(f'{job.name}: FAILED, {failed[job]}')
            elif job.needs not in unfinished and len(self._running) < self.slots:
                waiting.remove(job)
                slot = min(set(range(self.slots)) - set(self._running))
                self._running[slot] = (job, _start(job, slot, self.slots), time.time())
                self.say(f'      {job.name}: started, {job.folder / "log.txt"}')

    def _left(self, waiting: list[Job]) -> str:
        now = time.time()
        running = {job: now - start for job, _, start in self._running.values()}
        if not waiting and not running:
            return ''
        seconds = remaining_seconds(self._seconds, waiting, running, self.slots)
        left = f'; {len(waiting) + len(running)} to go'
        return left if seconds is None else f'{left}, about {show_seconds(seconds)}'

    def _end_all(self) -> None:
        processes = [process for _, process, _ in self._running.values()]
        for process in processes:  # a session each: their loader workers end with them
            _signal(process, signal.SIGTERM)
        for process in processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                pass
            _signal(process, signal.SIGKILL)
            process.wait()
        self._running.clear()


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def show_seconds(seconds: float) -> str:
    """``42 s``, ``12 min`` or ``3 h 5 min``."""
    if seconds < 120:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 60 else f'{minutes // 60} h {minutes % 60} min'


def _start(job: Job, slot: int, slots: int) -> subprocess.Popen:
    root = Path(__file__).resolve().parents[2]  # for custom_imports such as projects.filip
    threads = str(max(1, num_cores() // slots))
    env = dict(os.environ, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
    env['PYTHONPATH'] = os.pathsep.join(filter(None, [str(root), os.environ.get('PYTHONPATH')]))
    env['PYTHONUNBUFFERED'] = '1'
    if gpus := visible_gpus():
        env['CUDA_VISIBLE_DEVICES'] = gpus[slot % len(gpus)]
    job.folder.mkdir(parents=True, exist_ok=True)
    with open(job.folder / 'log.txt', 'a') as log:
        return subprocess.Popen(
            [*COMMAND, str(job.folder), *job.args, '--parent', str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end it
        )


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may be set to, one for each GPU of this process."""
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
