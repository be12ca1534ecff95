"""What a stage costs as streams, images, memories and seeds grow: milliseconds a training step and peak memory.

python benchmarks/growth.py

Each row is one run of kd+replay in a process of its own, on the embedded data, and tells of its last stage. Peak memory
is the process', measured anew in every stage, so that what earlier stages left behind is in it.
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
EPOCHS, BATCH = 2, 4
CASES: dict[str, list[int]] = {
    "tasks": [2, 4, 8, 16],
    "size": [128, 256, 512],
    "memory": [0, 10, 50],
    "seeds": [1, 2, 4],
}


def name(what: str, value: int) -> str:
    """Return the case's name; what grows has the plain case in it, which is measured once for all."""
    return "plain" if PLAIN[what] == value else f"{what} {value}"


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
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "image_size": size,
        "schedule": "per_stage",
        "threads": threads,
    }


def measured(case: dict[str, Any]) -> dict[str, float]:
    """Run the case; return the seconds of training and the peak memory of the last stage."""
    from cl_bench.results.export import stage_costs
    from cl_bench.runner.prepare import prepare
    from cl_bench.runner.run import train

    with tempfile.TemporaryDirectory() as folder:
        os.environ["CL_BENCH_RESULTS"] = folder
        os.environ.pop("CL_BENCH_STORE", None)  # a store with these stages in it would leave nothing to measure
        path = Path(folder) / "growth.yaml"
        path.write_text(json.dumps(experiment(**case)))
        prepared = prepare(str(path))
        if failed := train(prepared):
            raise SystemExit(f"a stage failed: {next(iter(failed.values())).reason}")
        costs = stage_costs(prepared.folder).set_index("stage")
        last = costs.loc[prepared.plan.runs[-1].stages[-1]]
    return {"seconds": float(last["train_seconds"]), "memory_mb": float(last["peak_memory_mb"])}


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
    cases = {name(what, value): {**base, what: value} for what, values in CASES.items() for value in values}
    measures: dict[str, list[dict[str, float]]] = {case: [] for case in cases}

    def way(case: str) -> float:
        measures[case].append(apart(cases[case]))
        return measures[case][-1]["seconds"]

    seconds = interleaved({case: partial(way, case) for case in cases}, options.rounds)
    measures = {case: found[-options.rounds :] for case, found in measures.items()}  # without the round that warms up
    steps = EPOCHS * -(-options.images // BATCH)
    print("| | ms a step | / smallest | peak MB | / smallest |\n|---|--:|--:|--:|--:|")
    memory = {case: statistics.median(one["memory_mb"] for one in found) for case, found in measures.items()}
    for what, values in CASES.items():
        smallest = name(what, values[0])
        for value in values:
            this = name(what, value)
            cells = [f"{1000 * statistics.median(seconds[this]) / steps:.0f}"]
            cells += [f"{ratio(seconds[this], seconds[smallest]):.2f}"]
            cells += [f"{memory[this]:.0f}", f"{memory[this] / memory[smallest]:.2f}"]
            print(f"| {what} {value} | {' | '.join(cells)} |")
    keep(options, {"measures": measures})


if __name__ == "__main__":
    main()
