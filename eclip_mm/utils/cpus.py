"""How many CPUs this process may use.

``python eclip_mm/utils/cpus.py`` prints it; this file must import nothing of the package.
"""

import os
from pathlib import Path

#: the share of the CPUs that a container may use: microseconds, or ``max``, and the period
_QUOTA = Path('/sys/fs/cgroup/cpu.max')


def num_cpus() -> int:
    """The number of CPUs that this process may use, at least 1.

    A process may be bound to some of the CPUs (taskset, Slurm), and a container may have a share
    of their time, which counts as whole CPUs, rounded up.
    """
    bound = hasattr(os, 'sched_getaffinity')  # not on macOS and Windows
    count = len(os.sched_getaffinity(0)) if bound else os.cpu_count() or 1
    try:
        quota, period = map(int, _QUOTA.read_text().split())
    except (OSError, ValueError):  # no such file, or max: no limit
        return count
    return max(1, min(count, -(-quota // period)))


if __name__ == '__main__':
    print(num_cpus())
