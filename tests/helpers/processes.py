"""Processes that begin with torch, mmengine and the package imported.

Starting Python and importing them takes five seconds of a core, longer than most of what tests
compute. ``multiprocessing``'s fork server imports them once for a session, and programs and ranks
are forked from it. It knows nothing of the tests, so what it forks is a new process in all but the
imports.
"""

import multiprocessing
import os
import runpy
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.multiprocessing

_ROOT = Path(__file__).resolve().parents[2]
_CONTEXT = multiprocessing.get_context('forkserver')
#: what a training, an evaluation or an embedding imports
_CONTEXT.set_forkserver_preload(
    [
        'torch.distributed.fsdp',
        'torch._dynamo',
        'torch._functorch.aot_autograd',
        'torch.utils.tensorboard',
        'mmcv.ops',  # for mmengine's log of the environment; not there without mmdet
        'mmengine.runner',
        'pandas',  # pyarrow.compute brings it
        'yapf.yapflib.yapf_api',  # mmengine's for the text of a config
        'mmengine.visualization',
        'transformers.models.bert.modeling_bert',
        'transformers.models.vit.modeling_vit',
        'eclip_mm.apis',
        'eclip_mm.comparison.job',
        'eclip_mm.datasets',
        'eclip_mm.datasets.synthetic',
        'eclip_mm.embedding',
        'eclip_mm.engine',
        'eclip_mm.evaluation',
        'eclip_mm.models',
    ]
)


def _run_program(command: list[str], log: str, folder: str, env: dict[str, str]) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    # as Python begins: without what pytest has added for the tests
    added = {str(_ROOT / 'tests'), str(_ROOT / 'tools/analysis_tools')}
    paths = [path for path in env.get('PYTHONPATH', '').split(os.pathsep) if path]
    rest = [path for path in sys.path if path not in added]
    sys.path[:] = [str(Path(command[0]).parent), *paths, *rest]
    sys.argv = command
    runpy.run_path(command[0], run_name='__main__')


class Program:
    """A Python program in the background, as :class:`subprocess.Popen` has it.

    Args:
        command: path of the program and its arguments.
        log: file of its output. A pipe would be kept open by the workers of a killed training.
        folder: working directory.
        env: all of its environment variables; ``PYTHONPATH`` is honoured.

    Attributes:
        pid: id of the process.
    """

    def __init__(self, command: list[str], log: Path, folder: Path, env: dict[str, str]):
        args = ([str(part) for part in command], str(log), str(folder), env)
        self._process = _CONTEXT.Process(target=_run_program, args=args)
        self._process.start()
        self.pid = self._process.pid

    def wait(self, timeout: float | None = None) -> int:
        """Exit code, negative after a signal."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutError(f'{self._process.name} still runs after {timeout} seconds')
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


def free_port() -> str:
    """A port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return str(sock.getsockname()[1])


def rank_env(rank: int, size: int, port: str) -> dict[str, str]:
    """What ``torchrun`` sets for a process."""
    return dict(
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=port,
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(size),
    )


def _run_rank(rank: int, function: Callable, args: tuple, size: int, port: str) -> None:
    os.environ.update(rank_env(rank, size, port))
    torch.set_num_threads(1)
    function(rank, *args)


def start_ranks(
    function: Callable, *args, size: int = 2, join: bool = True
) -> torch.multiprocessing.ProcessContext | None:
    """``function(rank, *args)`` in ``size`` processes with the environment of ``torchrun``."""
    return torch.multiprocessing.start_processes(
        _run_rank, (function, args, size, free_port()), size, join, start_method='forkserver'
    )


def is_running(pid: int) -> bool:
    """False for a zombie, too: it is dead, and its parent has not looked yet."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Returns as soon as the condition holds; an error if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f'nothing happened in {seconds} seconds')
        time.sleep(0.02)
