"""Memory of a process, in bytes (Linux)."""

import resource
from pathlib import Path


def resident(pid: int | str = 'self') -> int:
    """What a process holds now; this one without an argument."""
    status = Path(f'/proc/{pid}/status').read_text()
    return 1024 * int(status.split('VmRSS:')[1].split()[0])


def unshared(pid: int | str = 'self') -> int:
    """What of it no other process holds as well."""
    lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith('Private_'))


def peak() -> int:
    """The most that this process has held since it began."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
