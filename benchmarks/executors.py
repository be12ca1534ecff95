"""Wall time of the same nine stages with one process, two, and Ray, each into an empty store; and that rows are equal.

python benchmarks/executors.py --rounds 3 quickstart --set threads=1
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = {"-j 1": ["-j", "1"], "-j 2": ["-j", "2"], "Ray": ["--executor", "ray"]}


def main() -> None:
    """Run every way in interleaved rounds and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment")
    parser.add_argument("--rounds", type=int, default=3)
    options, more = parser.parse_known_args()
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    rows = set()
    for _ in range(options.rounds):
        for way, words in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                code = "from cl_bench.cli import main; main()"
                command = [sys.executable, "-W", "ignore", "-c", code, "run", options.experiment, *words, *more]
                environment = {**os.environ, "CL_BENCH_RESULTS": folder, "CL_BENCH_STORE": f"{folder}/stages"}
                started = time.monotonic()
                subprocess.run(command, env=environment, check=True, capture_output=True)
                seconds[way].append(time.monotonic() - started)
                rows.update(path.read_text() for path in Path(folder).glob("*/rows.csv"))
    print("| way | seconds, median | all |\n|---|--:|---|")
    for way, found in seconds.items():
        print(f"| {way} | {statistics.median(found):.0f} | {', '.join(f'{value:.0f}' for value in found)} |")
    print("rows are equal bit for bit" if len(rows) == 1 else f"{len(rows)} DIFFERENT results")


if __name__ == "__main__":
    main()
