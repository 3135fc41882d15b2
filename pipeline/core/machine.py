"""What this machine gives to this process: processors and memory, on every system that Python runs on."""

from __future__ import annotations

import os


def usable_threads() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory of this machine."""
    import psutil

    return int(psutil.virtual_memory().total)


def free_bytes() -> int:
    """Memory that nobody uses at the moment."""
    import psutil

    return int(psutil.virtual_memory().free)
