"""How planning and reading results grow with the number of stages; nothing is trained, artifacts are made up.

python benchmarks/scale.py 100 1000 10000
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from pairs import arguments, keep

SCENES = {"format": "scenes", "train": 12, "val": 10, "size": 64}
EXPERIMENT: dict[str, Any] = {
    "tasks": [
        {"name": "seg", "kind": "segmentation", "data": SCENES},
        {"name": "det", "kind": "detection", "data": SCENES, "levels": 8},
        {"name": "cls", "kind": "classification", "data": SCENES},
    ],
    "strategies": ["naive", "kd", "kd+replay"],
    "model": {"backbone": "mobilenetv3_small_050", "weights": "none", "neck_channels": 16, "shared_channels": 8},
    "epochs": 5,
    "image_size": 64,
}
PER_SEED = 39
"""Stages of three strategies and all six orders of three tasks, with their baselines, for one seed."""


DRY = "run --dry-run"
COMMANDS = (DRY, "status", "table", "plot", "report")


def made_up(prepared: Any) -> None:
    """Fill the store as if every stage had been trained."""
    import numpy as np
    from PIL import Image
    from safetensors.numpy import save_file

    from cl_bench.results.store import pictures
    from cl_bench.results.store.json_files import write_csv
    from cl_bench.utils.machine import environment

    draw, here, noise = random.Random(0), environment(1, "cpu", "float32"), np.random.default_rng(0)
    image = pictures.encode(Image.fromarray(noise.integers(0, 255, (64, 64, 3), np.uint8)))
    shown = [pictures.Picture(f"image {place}", image, image) for place in range(12)]
    classes = {entry.task.name: entry.task.classes for entry in prepared.catalog}
    metrics = {task.name: kind for task, kind in ((e.task, e.task.kind.metrics) for e in prepared.catalog)}
    cost = {"train_seconds": 1.0, "evaluation_seconds": 0.1, "peak_memory_mb": 100.0, "parameters": 1000}
    cost |= {"added_parameters": 0, "added_passes": 0.0, "stored_images": 0}
    for stage in prepared.plan.stages.values():
        rows = [
            {"epoch": epoch, "task": task, "metric": metric, "value": draw.random()}
            for epoch in range(1, stage.epochs + 1)
            for task in (*stage.past, *stage.trained)
            for metric in metrics[task]
        ]
        scores = [
            {"task": task, "class": name, "value": draw.random()}
            for task in (*stage.past, *stage.trained)
            for name in classes[task]
        ]
        learnt = [
            {"epoch": epoch, "task": name, "loss": 1.0, "gradient_norm": 1.0, "learning_rate": 1e-3, "seconds": 1.0}
            for epoch in range(1, stage.epochs + 1)
            for name in (*stage.trained, "total")
        ]
        files = {"evaluations.csv": rows, "classes.csv": scores, "training.csv": learnt}
        description = {"key": stage.key, "parent": stage.parent, "tasks": list(stage.trained), "cost": cost}
        description |= {"settings": stage.identity, "environment": here, "hashes": {"first": "", "last": ""}}

        def write(folder: Path, stage: Any = stage, files: dict[str, list[dict[str, Any]]] = files) -> None:
            tasks = (*stage.past, *stage.trained)
            for name, lines in files.items():
                write_csv(folder / name, lines, list(lines[0]))
            save_file({task: noise.random(1000, np.float32) for task in tasks}, folder / "resamples.safetensors")
            if stage.seed == 0:  # reports show no other seed's
                pictures.save(dict.fromkeys(tasks, shown), folder / pictures.FILE)

        prepared.store.add(stage.key, description, write)


def experiment(path: Path, seeds: int, orders: str) -> Any:
    """Return an experiment, written to `path`, whose results are there as if it had been run."""
    from cl_bench.results.store.json_files import write_json
    from cl_bench.runner.plan_record import describe_plan
    from cl_bench.runner.prepare import prepare

    path.write_text(yaml.safe_dump({**EXPERIMENT, "seeds": list(range(seeds))}))
    prepared = prepare(str(path), orders=orders)
    made_up(prepared)
    prepared.folder.mkdir()
    write_json(prepared.folder / "plan.json", describe_plan(prepared))
    return prepared


def command(*words: str) -> tuple[float, float]:
    """Run the command line; return the seconds and the peak memory in MB it took."""
    code = (
        "import sys; from cl_bench.cli import main; sys.argv[0] = 'cl-bench'\n"
        "try: main()\n"
        "except SystemExit as ended: assert not ended.code, ended.code\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(int(peak.split()[1]) / 1024, file=sys.stderr)"
    )
    started = time.monotonic()
    found = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return time.monotonic() - started, float(found.stderr.split()[-1])


def measure(stages: int) -> dict[str, float]:
    """Print a row of the table for about `stages` stages, and return it."""
    from cl_bench.results.export import export
    from cl_bench.stages.plan import make_plan

    with tempfile.TemporaryDirectory() as root:
        os.environ["CL_BENCH_RESULTS"] = root
        path = Path(root) / "scale.yaml"
        prepared = experiment(path, seeds=-(-stages // PER_SEED), orders="all")
        started = time.monotonic()
        plan = make_plan(prepared.experiment, prepared.catalog, prepared.weights)
        planning = time.monotonic() - started
        started = time.monotonic()
        export(prepared.folder)
        exporting = time.monotonic() - started
        found = {"stages": float(len(plan.stages)), "plan s": planning, "export s": exporting}
        for name in COMMANDS:
            words = ("run", str(path), "--orders", "all", "--dry-run") if name == DRY else (name, "scale")
            found[f"{name} s"], found[f"{name} MB"] = command(*words)
        size = found["page MB"] = (prepared.folder / "report.html").stat().st_size / 1e6
        cells = [f"{len(plan.stages)}", f"{len(plan.runs)}", f"{planning:.2f}", f"{exporting:.1f}"]
        cells += [f"{found[f'{name} s']:.1f}, {found[f'{name} MB']:.0f}" for name in COMMANDS]
        print(f"| {' | '.join([*cells, f'{size:.1f}'])} |", flush=True)
        return found


def main() -> None:
    """Print the table, one row a size."""
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("stages", type=int, nargs="*", default=[100, 1000, 10000])
    options = parser.parse_args()
    print(f"| stages | runs | plan s | export s | {' | '.join(f'{name} s, MB' for name in COMMANDS)} | page MB |")
    print("| --: " * 10 + "|")
    found = [measure(stages) for stages in options.stages for _ in range(options.rounds)]
    print(f"peak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    keep(options, {"sizes": found})


if __name__ == "__main__":
    main()
