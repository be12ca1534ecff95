"""One experiment at two commits, in interleaved rounds: what a change costs or saves where people wait.

python benchmarks/commits.py 0f29465 HEAD -- quickstart --seeds 0 --set epochs=1

What stands behind `--` is what `cl-bench run` is given; every round trains all stages anew, in a folder of its own.
"""

from __future__ import annotations

import csv
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pairs import arguments, interleaved, keep, ratio, timed

MAIN = "from cl_bench.cli import main; main()"
ROOT = Path(__file__).resolve().parent.parent
SUMMED = ("train_seconds", "evaluation_seconds")


def checked_out(commit: str, folder: Path) -> Path:
    """Return a copy of the repository at `commit` below `folder`, which Python imports as it is."""
    place = folder / commit
    subprocess.run(["git", "clone", "-q", "--no-checkout", str(ROOT), str(place)], check=True)
    found = subprocess.run(["git", "rev-parse", commit], cwd=ROOT, check=True, capture_output=True, text=True)
    subprocess.run(["git", "checkout", "-q", "--detach", found.stdout.strip()], cwd=place, check=True)
    for part in ("strategies", "experiments"):  # an installation puts them inside the package
        (place / "cl_bench" / part).symlink_to(place / part)
    return place


def measured(place: Path, words: list[str]) -> dict[str, float]:
    """Return the seconds of the command and of its stages' parts, and the highest peak memory of a stage."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(place), "CL_BENCH_RESULTS": folder}
        environment.pop("CL_BENCH_STORE", None)
        command = [sys.executable, "-c", MAIN, "run", *words]
        wall = timed(lambda: subprocess.run(command, env=environment, cwd=place, check=True, capture_output=True))
        (file,) = Path(folder).glob("*/stages.csv")
        with file.open(newline="") as lines:
            stages = list(csv.DictReader(lines))
    sums = {name: sum(float(stage[name]) for stage in stages) for name in SUMMED}
    return {"seconds": wall, **sums, "peak_memory_mb": max(float(stage["peak_memory_mb"]) for stage in stages)}


def main() -> None:
    """Print a row a measure."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("commits", nargs=2, metavar="COMMIT")
    parser.add_argument("words", nargs="+", metavar="WORD", help="experiment and options of `cl-bench run`")
    options = parser.parse_args()
    words = [*options.words, "--set", f"threads={options.threads}"]
    found: dict[str, list[dict[str, float]]] = {commit: [] for commit in options.commits}

    def way(commit: str, place: Path) -> float:
        found[commit].append(measured(place, words))
        return found[commit][-1]["seconds"]

    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[], float]] = {
            commit: partial(way, commit, checked_out(commit, Path(folder))) for commit in options.commits
        }
        interleaved(ways, options.rounds)
    before, after = (rounds[-options.rounds :] for rounds in found.values())  # without the round that warms up
    print(f"| | {' | '.join(found)} | ratio |\n|---|--:|--:|--:|")
    for name in before[0]:
        pair = [[one[name] for one in rounds] for rounds in (before, after)]
        middles = " | ".join(f"{statistics.median(values):.1f}" for values in pair)
        print(f"| {name.replace('_', ' ')} | {middles} | {ratio(pair[1], pair[0]):.2f} |")
    keep(options, {"measures": found})


if __name__ == "__main__":
    main()
