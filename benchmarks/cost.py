"""What experiments cost side by side: the model's size, an image's latency, an epoch of every task's baseline.

python benchmarks/cost.py unified_onehead_lite unified_onehead_best --image-size 256 --rounds 5
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from typing import Any

LATENCY_RUNS = 50


def latency_ms(model: Any, image_size: int) -> float:
    """Return the median milliseconds of all tasks' outputs for one image."""
    import torch

    image, times = torch.zeros(1, 3, image_size, image_size), []
    image = image.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in range(LATENCY_RUNS):
            began = time.perf_counter()
            model(image)
            times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def epoch_seconds(experiment: str, image_size: int, seed: int) -> dict[str, float]:
    """Return the training seconds of one epoch of every task's baseline; a new seed trains anew."""
    from cl_bench.results.export import stage_costs
    from cl_bench.runner.prepare import prepare
    from cl_bench.runner.run import train

    changes = {"strategies": [], "epochs": 1, "image_size": image_size, "threads": 1, "schedule": "per_stage"}
    prepared = prepare(experiment, seeds=[seed], changes=changes)
    train(prepared)
    costs = stage_costs(prepared.folder)
    return {str(row["tasks"]): float(row["train_seconds"]) for _, row in costs.iterrows()}


def main() -> None:
    """Measure in interleaved rounds and print medians, a line an experiment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="+")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ["CL_BENCH_RESULTS"] = tempfile.mkdtemp()
    os.environ.pop("CL_BENCH_STORE", None)
    import torch

    from cl_bench.config.presets import load_experiment
    from cl_bench.deploy.model_card import parts_of, untrained_model

    torch.set_num_threads(1)
    models = {name: untrained_model(load_experiment(name)) for name in options.experiments}
    latencies: dict[str, list[float]] = {name: [] for name in models}
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    for round_ in range(options.rounds):
        for name, model in models.items():
            latencies[name].append(latency_ms(model, options.image_size))
            seconds[name].append(epoch_seconds(name, options.image_size, round_))
    tasks = list(next(iter(seconds.values()))[0])
    print("| experiment | parameters | multiply-adds | latency ms |" + "".join(f" {task} s |" for task in tasks))
    print("|---|--:|--:|--:|" + "--:|" * len(tasks))
    for name, model in models.items():
        parts = parts_of(model, options.image_size)
        size, work = sum(part.parameters for part in parts), sum(part.multiply_adds for part in parts)
        epochs = [statistics.median(found[task] for found in seconds[name]) for task in tasks]
        shown = "".join(f" {epoch:.1f} |" for epoch in epochs)
        print(f"| {name} | {size:,} | {work:,} | {statistics.median(latencies[name]):.1f} |{shown}")


if __name__ == "__main__":
    main()
