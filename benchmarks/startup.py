"""How long one waits: for the import, for --help, and for the first training step of quickstart.

python benchmarks/startup.py

The first round, which may fill the cache of decoded images, does not count.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pairs import arguments, interleaved, keep, timed

MAIN = "from cl_bench.cli import main; main()"
WATCH = """
from pathlib import Path
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *_: Path({file!r}).touch())
"""
LONGEST = 300
"""Seconds after which a first step is not waited for any longer."""


def python(*words: str) -> float:
    """Return the seconds of a Python process."""
    return timed(lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True))


def first_step(words: Sequence[str]) -> float:
    """Return the seconds from the command to the end of its first training step; it is stopped then."""
    with tempfile.TemporaryDirectory() as folder:
        done, plugin = Path(folder) / "done", Path(folder) / "watch.py"
        plugin.write_text(WATCH.format(file=str(done)))
        command = [sys.executable, "-c", MAIN, "run", *words, "--plugin", str(plugin)]
        environment = {**os.environ, "CL_BENCH_RESULTS": folder, "CL_BENCH_STORE": f"{folder}/stages"}
        began = time.perf_counter()
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            while not done.exists():
                if run.poll() is not None or time.perf_counter() - began > LONGEST:
                    run.kill()
                    raise SystemExit(f"{' '.join(words)} ended or hung before its first training step")
                time.sleep(0.01)
            took = time.perf_counter() - began
            run.terminate()
        return took


def main() -> None:
    """Print a row each."""
    options = arguments(__doc__, rounds=5).parse_args()
    ways = {
        "python": lambda: python("-c", "pass"),
        "import cl_bench": lambda: python("-c", "import cl_bench"),
        "cl-bench --help": lambda: python("-c", MAIN, "--help"),
        "first step of quickstart": lambda: first_step(["quickstart", "--set", f"threads={options.threads}"]),
        "first step of quickstart, -j 2": lambda: first_step(["quickstart", "-j", "2", "--set", "threads=1"]),
    }
    found = interleaved(ways, options.rounds)
    print("| | seconds, median |\n|---|--:|")
    for way, seconds in found.items():
        print(f"| {way} | {statistics.median(seconds):.2f} |")
    keep(options, {"seconds": found})


if __name__ == "__main__":
    main()
