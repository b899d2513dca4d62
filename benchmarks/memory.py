"""Resident memory of this process, in bytes (Linux)."""

import resource
from pathlib import Path


def resident() -> int:
    """What the process holds now."""
    status = Path('/proc/self/status').read_text()
    return 1024 * int(status.split('VmRSS:')[1].split()[0])


def peak() -> int:
    """The most that it has held since it began."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
