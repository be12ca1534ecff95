"""The machine: what it is, and how much memory a stage took of it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from pathlib import Path

import torch
import torchvision

from cl_bench.utils import memory

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Names of options in glibc's malloc.h."""


def set_up_numerics(threads: int) -> None:
    """Fix what floating-point results depend on; call it before the first computation, and in every stage.

    Flushing reaches only threads that are started later: a pool that is already running would keep its denormals.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False  # by default on: float32 is to be what it says


def idle_gpu() -> str:
    """Return the name of this machine's first GPU, which training on the CPU leaves idle; empty where it has none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def crowded(threads: int, jobs: int) -> str:
    """Return a remark where `jobs` stages of several threads each would share cores with what runs here; "" otherwise.

    Threads of one stage wait for each other all the time, and one that has to share its core holds up all of them.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if threads == 1 or busy + threads * jobs < 1.25 * cores + 0.5:
        return ""
    wanted = f"{jobs} x {threads} threads" if jobs > 1 else f"{threads} threads"
    return (
        f"{wanted} on {cores} of the machine's cores, whose load is {busy:.1f}, may take several times as long;"
        " --set threads=1 does not, but is another setting: what is trained already would be trained anew"
    )


def keep_memory() -> None:
    """Have glibc's allocator, where there is one, keep what is freed for the next step.

    Otherwise every large tensor of a step is given back and faulted in again: about a fifth of a step on a CPU.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def processor() -> str:
    """Return the processor's name and the instructions that torch uses of it, as both decide a result's bits."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def environment(threads: int, device: str, precision: str) -> dict[str, str | int]:
    """Return what equal bits depend on besides the settings."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "platform": platform.platform(terse=True),
        "processor": processor(),
        "threads": threads,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "precision": precision,
    }


def reset_peak_memory(device: str) -> None:
    """Start measuring peak memory anew, where the system allows it (Linux; CUDA)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: str) -> float:
    """Return the peak in MB since the reset: of the device on CUDA, of the process elsewhere."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 1e6
    return memory.peak_mb()
