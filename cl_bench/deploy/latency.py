"""Inference latency: one record a runtime and machine, in a file that others can send in."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cl_bench.deploy import export, latency_worker
from cl_bench.deploy.quantization import quantized
from cl_bench.deploy.trained import Trained, untrained
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.plugins.plugin_files import load_plugin_files
from cl_bench.utils import memory
from cl_bench.utils.machine import processor

LIBRARIES = {"eager": "torch", "onnxruntime": "onnxruntime", "onnxruntime-int8": "onnxruntime", "openvino": "openvino"}
"""By runtime, the library whose version is kept with a record."""
ROUNDS, WARM_UP = 10, 5
HIGHEST = 1e12
"""What no number of a record reaches, of whatever unit."""


@dataclass(frozen=True)
class Latency:
    """One record. p50, p95, p99: milliseconds a batch; throughput: images a second; memory_mb: the process's peak."""

    runtime: str
    library: str
    experiment: str
    backbone: str
    parameters: int
    image_size: int
    batch: int
    threads: int
    repeats: int
    p50: float
    p95: float
    p99: float
    throughput: float
    memory_mb: float
    processor: str
    cores: int
    system: str
    schema: int = 1


def measure(
    experiment: str,
    changes: Sequence[str] = (),
    names: Sequence[str] = tuple(LIBRARIES),
    threads: int = 1,
    batch: int = 1,
    repeats: int = 50,
    plugin_files: Sequence[str | Path] = (),
) -> list[Latency]:
    """Time one forward pass of all tasks in each runtime, every runtime in a process of its own, in turns.

    The weights are random, which serves: no layer's time depends on them. batch: images; repeats: timed passes, in
    rounds of which each begins with passes that are not; plugin_files: what declares kinds of the experiment. Raises
    UserError.
    """
    load_plugin_files(plugin_files)
    for name in names:
        if name not in LIBRARIES:
            raise unknown_name_error("runtime", name, LIBRARIES)
    if min(threads, batch, repeats) < 1:
        raise UserError("threads, batch and repeats must be at least 1")
    trained = untrained(experiment, changes)
    shape = (batch, 3, trained.image_size, trained.image_size)
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as alive:
        files = _files(trained, names, Path(temporary))
        processes = {name: alive.enter_context(ProcessPoolExecutor(1, mp_context=spawn)) for name in names}
        for name, process in processes.items():
            given = (name, files.get(name), threads, shape, experiment, tuple(changes), tuple(map(str, plugin_files)))
            process.submit(latency_worker.prepare, *given).result()
        seconds: dict[str, list[float]] = {name: [] for name in names}
        rounds = min(ROUNDS, repeats)
        for round_ in range(rounds):
            count = repeats // rounds + (round_ < repeats % rounds)
            for name, process in processes.items():  # in turns: a slower while of the machine is everybody's
                seconds[name] += process.submit(latency_worker.passes, count, WARM_UP if not round_ else 1).result()
        peaks = {name: process.submit(memory.peak_mb).result() for name, process in processes.items()}
    return [_record(trained, name, threads, batch, seconds[name], peaks[name]) for name in names]


def _files(trained: Trained, names: Sequence[str], folder: Path) -> dict[str, Path]:
    """Write what the runtimes among `names` read; made once and here, so that it is not in their times and memory."""
    if not set(names) - {"eager"}:
        return {}
    file = export.FORMATS["onnx"].write(trained, folder)
    files = {"onnxruntime": file, "openvino": file}
    if "onnxruntime-int8" in names:
        images = np.random.default_rng(0).random((1, 3, trained.image_size, trained.image_size), np.float32)
        files["onnxruntime-int8"] = quantized(file, folder / "int8.onnx", [images] * 2)
    return files


def _record(
    trained: Trained, name: str, threads: int, batch: int, seconds: Sequence[float], memory_mb: float
) -> Latency:
    p50, p95, p99 = (float(value) for value in np.percentile(np.array(seconds) * 1000, [50, 95, 99]))
    return Latency(
        runtime=name,
        library=f"{LIBRARIES[name]} {version(LIBRARIES[name])}",
        experiment=trained.experiment.name,
        backbone=trained.experiment.model.backbone,
        parameters=sum(p.numel() for p in trained.model.parameters()),
        image_size=trained.image_size,
        batch=batch,
        threads=threads,
        repeats=len(seconds),
        p50=p50,
        p95=p95,
        p99=p99,
        throughput=batch * len(seconds) / sum(seconds),
        memory_mb=memory_mb,
        processor=processor(),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
    )


def to_json(found: Sequence[Latency]) -> str:
    """Return the records as the file that others can send in."""
    return json.dumps([asdict(one) for one in found], indent=1) + "\n"


def load(files: Sequence[Path]) -> list[Latency]:
    """Return the records of all `files`; raise UserError, naming the file, for what is none."""
    found: dict[Latency, None] = {}  # a record that is in two of them is one
    for file in files:
        try:
            content = json.loads(file.read_bytes())
            found |= dict.fromkeys(_checked(record) for record in content)
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{file} holds no latencies of this version: {error}") from error
    return list(found)


def _checked(record: dict[str, Any]) -> Latency:
    kinds: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}
    for name, kind in Latency.__annotations__.items():
        if name not in record or not isinstance(record[name], kinds[kind]):
            raise ValueError(f"{name} is missing or not a {kind}")
        if kind in ("int", "float") and not 0 < record[name] < HIGHEST:
            raise ValueError(f"{name} is {str(record[name])[:20]}, which is no measurement")
    if record["schema"] != 1:
        raise ValueError(f"schema {record['schema']} is not 1")
    if not record["p50"] <= record["p95"] <= record["p99"]:
        raise ValueError(f"of {record['runtime']}, p50, p95 and p99 do not rise")
    return Latency(**record)


def table(found: Sequence[Latency]) -> str:
    """Return the records as a Markdown table, the fastest of each machine, size, batch and threads first."""
    ordered = sorted(found, key=lambda r: (r.processor, r.backbone, r.image_size, r.batch, r.threads, r.p50))
    lines = [
        "| processor | model | image | batch | threads | runtime | p50 ms | p95 ms | p99 ms | images/s | peak MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in ordered:
        what = (
            _cell(r.processor),
            f"{_cell(r.backbone)} ({r.parameters / 1e6:.1f} M)",
            f"{r.image_size}x{r.image_size}",
        )
        numbers = (f"{r.p50:.1f}", f"{r.p95:.1f}", f"{r.p99:.1f}", f"{r.throughput:.1f}", f"{r.memory_mb:.0f}")
        lines.append(f"| {' | '.join((*what, str(r.batch), str(r.threads), _runtime(r), *numbers))} |")
    return "\n".join(lines)


def _runtime(record: Latency) -> str:
    return f"{_cell(record.runtime)} ({_cell(record.library)})"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
