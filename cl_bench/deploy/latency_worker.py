"""A runtime in a process of its own that times its passes; a process without PyTorch where the runtime needs none."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cl_bench.deploy import runtimes
from cl_bench.deploy.runtimes import Forward, Images

_loaded: dict[str, tuple[Forward, Images]] = {}
"""What this process runs, once it was prepared."""


def prepare(
    name: str,
    file: Path | None,
    threads: int,
    shape: tuple[int, int, int, int],
    experiment: str,
    changes: Sequence[str],
    plugin_files: Sequence[str],
) -> None:
    """Load the runtime `name`, which reads `file`; shape: of the images. Where there is no file, `experiment` runs."""
    if file is not None:
        forward = (runtimes.openvino if name == "openvino" else runtimes.onnxruntime)(file, threads)
    else:
        from cl_bench.deploy.trained import untrained
        from cl_bench.plugins.plugin_files import load_plugin_files
        from cl_bench.utils.machine import keep_memory, set_up_numerics

        load_plugin_files(plugin_files)
        set_up_numerics(threads)
        keep_memory()  # the other runtimes have arenas of their own
        forward = runtimes.eager(untrained(experiment, changes).deployed(), threads)
    _loaded["one"] = forward, np.random.default_rng(0).random(shape, np.float32)


def passes(count: int, warm_up: int) -> list[float]:
    """Return the seconds of each of `count` passes, after `warm_up` that are not timed."""
    forward, images = _loaded["one"]
    seconds = []
    for _ in range(warm_up + count):
        started = time.perf_counter()
        forward(images)
        seconds.append(time.perf_counter() - started)
    return seconds[warm_up:]
