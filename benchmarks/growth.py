"""What a stage costs as streams, images, memories and seeds grow: milliseconds a training step and peak memory.

python benchmarks/growth.py

Each row is one run of kd+replay in a process of its own, on the embedded data; what it says of the last stage is what
the growth is about. Peak memory is the process', measured anew in every stage, so it shows what earlier ones left.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from pairs import arguments, interleaved, keep, ratio

KINDS = ("segmentation", "detection", "classification")
LEVELS = {"segmentation": 8, "detection": 8, "classification": 32}
PLAIN: dict[str, Any] = {"tasks": 2, "size": 128, "memory": 10, "seeds": 1}
CASES: dict[str, list[int]] = {
    "tasks": [2, 4, 8, 16],
    "size": [128, 256, 512],
    "memory": [0, 10, 50],
    "seeds": [1, 2, 4],
}


def experiment(tasks: int, size: int, memory: int, seeds: int, images: int, threads: int) -> dict[str, Any]:
    """Return an experiment whose last task is a classification, so that last stages can be compared."""
    kinds = [KINDS[(place + len(KINDS) - tasks) % len(KINDS)] for place in range(tasks)]
    data = {"format": "scenes", "train": images, "val": 16}
    named = [
        {"name": f"t{place}", "kind": kind, "data": data, "levels": LEVELS[kind]} for place, kind in enumerate(kinds)
    ]
    return {
        "tasks": named,
        "strategies": [f"kd+replay[memory={memory}]"],
        "seeds": list(range(seeds)),
        "model": {"backbone": "tf_efficientnet_lite0", "weights": "bundled"},
        "epochs": 2,
        "batch_size": 4,
        "image_size": size,
        "schedule": "per_stage",
        "threads": threads,
    }


def measured(case: dict[str, Any]) -> dict[str, float]:
    """Run the case; return the seconds of the last stage's training and the peak memory of the first and the last."""
    from cl_bench import api, results

    with tempfile.TemporaryDirectory() as folder:
        os.environ["CL_BENCH_RESULTS"] = folder
        path = Path(folder) / "growth.yaml"
        path.write_text(json.dumps(experiment(**case)))
        prepared = api.prepare(str(path))
        if failed := api.train(prepared):
            raise SystemExit(f"a stage failed: {next(iter(failed.values())).reason}")
        costs = results.stage_costs(prepared.folder).set_index("stage")
        stages = [costs.loc[prepared.plan.runs[place].stages[-1]] for place in (0, -1)]
    return {
        "seconds": float(stages[-1]["train_seconds"]),
        "memory_mb": float(stages[-1]["peak_memory_mb"]),
        "first_memory_mb": float(stages[0]["peak_memory_mb"]),
    }


def apart(case: dict[str, Any]) -> dict[str, float]:
    """Return what a process of its own measures."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--case", json.dumps(case)],
        check=True,
        capture_output=True,
        text=True,
    )
    measures: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return measures


def main() -> None:
    """Print a table for everything that grows."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--case", type=json.loads, help="measure this one and print it as JSON")
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measured(options.case)))
        return
    base = {**PLAIN, "images": options.images, "threads": options.threads}
    cases = {f"{what} {value}": {**base, what: value} for what, values in CASES.items() for value in values}
    measures: dict[str, list[dict[str, float]]] = {name: [] for name in cases}

    def way(name: str) -> float:
        measures[name].append(apart(cases[name]))
        return measures[name][-1]["seconds"]

    seconds = interleaved({name: partial(way, name) for name in cases}, options.rounds)
    steps = 2 * -(-options.images // 4)
    print("| | ms a step | / smallest | peak MB | / smallest |\n|---|--:|--:|--:|--:|")
    memory = {name: statistics.median(one["memory_mb"] for one in found) for name, found in measures.items()}
    for name in cases:
        smallest = f"{name.split()[0]} {CASES[name.split()[0]][0]}"
        cells = [
            f"{1000 * statistics.median(seconds[name]) / steps:.0f}",
            f"{ratio(seconds[name], seconds[smallest]):.2f}",
        ]
        cells += [f"{memory[name]:.0f}", f"{memory[name] / memory[smallest]:.2f}"]
        print(f"| {name} | {' | '.join(cells)} |")
    keep(options, {"measures": measures})


if __name__ == "__main__":
    main()
