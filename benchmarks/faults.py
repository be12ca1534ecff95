"""The fault campaign: processes killed, artifacts damaged, disks full or read-only, two runs racing on one store.

After every fault the experiment is run again, and its rows and weights must equal, bit for bit, those of a run that
nothing disturbed; nothing that was finished may be trained again.

    python benchmarks/faults.py --kills 50 --damages 10    # about half an hour on two cores
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import yaml

from cl_bench.runner.executors.forkserver import worker_context

SCENES = {"format": "scenes", "train": 12, "val": 10, "size": 64}
EXPERIMENT = {
    "name": "faults",
    "tasks": [
        {"name": "seg", "kind": "segmentation", "data": SCENES},
        {"name": "det", "kind": "detection", "data": SCENES, "levels": 8},
    ],
    "strategies": ["naive", "kd+replay", "si"],
    "model": {"backbone": "test_efficientnet", "weights": "none", "neck_channels": 16, "shared_channels": 8},
    "epochs": 6,
    "batch_size": 4,
    "image_size": 64,
    "threads": 1,
}
"""Six stages of six short epochs, one of which carries a plug-in's state."""


class Campaign:
    """Faults on one small experiment, in folders below `root`."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.random = root, random.Random(seed)
        self.experiment = root / "faults.yaml"
        self.experiment.write_text(yaml.safe_dump(EXPERIMENT))
        self.expected: dict[str, bytes | str] = {}

    def undisturbed(self) -> float:
        """Run the experiment once, keep what it must come to; return the seconds it took."""
        begin(os.getpid).join()  # the server's imports are no part of a run
        started = time.monotonic()
        self.run(self.root / "whole")
        self.expected = outcome(self.root / "whole")
        return time.monotonic() - started

    def start(self, results: Path, jobs: int = 1, store: Path | None = None) -> BaseProcess:
        """Start the command, forked from a server that has done the imports, as the leader of a session."""
        folders = {"CL_BENCH_RESULTS": str(results), "CL_BENCH_STORE": str(store or results / "stages")}
        words = ["cl-bench", "run", str(self.experiment), "-j", str(jobs)]
        return begin(command, words, self.root / "log.txt", folders)

    def run(self, results: Path, jobs: int = 1, store: Path | None = None) -> int | None:
        """Run the command to its end; return its exit code."""
        process = self.start(results, jobs, store)
        process.join()
        return process.exitcode

    def kills(self, count: int, longest: float) -> Counter[str]:
        """Kill runs, all their processes at once, after random times, again and again."""
        found: Counter[str] = Counter({"trained again": 0})
        results, before = self.root / "killed", dict[str, int]()
        while found["faults"] < count:
            process = self.start(results, jobs=self.random.choice([1, 2]))
            process.join(timeout=self.random.uniform(0, longest))
            if process.is_alive():
                kill(process)
                found["faults"] += 1
                found["trained again"] += changed(before, results)
                before = finished(results)
            else:  # it came to its end: begin anew
                found["trained again"] += changed(before, results)
                before = {}
                self.check(results)
                shutil.rmtree(results)
        assert self.run(results) == 0, self.log()
        found["trained again"] += changed(before, results)
        self.check(results)
        return found

    def damages(self, count: int) -> Counter[str]:
        """Tear, flip a bit of, or remove a random file of a random stage, and let its children be trained from it."""
        found: Counter[str] = Counter({"faults": count, "trained again": 0})
        for turn in range(count):
            results = self.root / f"damaged-{turn}"
            shutil.copytree(self.root / "whole", results)
            parents = {description(stage)["parent"] for stage in stages(results)} - {None}
            stage = results / "stages" / self.random.choice(sorted(parents))
            for child in stages(results):
                if description(child)["parent"] == stage.name:
                    shutil.rmtree(child)
            before = {key: stamp for key, stamp in finished(results).items() if key != stage.name}
            harm(self.random.choice(sorted(stage.iterdir())), self.random)
            assert self.run(results) == 0, self.log()
            found["trained again"] += changed(before, results)
            self.check(results)
            shutil.rmtree(results)
        return found

    def full_disk(self) -> Counter[str]:
        """Run on file systems that are too small, ever larger; then on one that is large enough."""
        found: Counter[str] = Counter({"trained again": 0})
        with tmpfs(self.root / "small", "3m") as folder:
            for size in ("3m", "6m", "9m", "12m", "400m"):
                subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
                before = finished(folder / "results")
                code = self.run(folder / "results")
                found["faults"] += code != 0
                found["trained again"] += changed(before, folder / "results")
            assert code == 0, self.log()
            self.check(folder / "results")
        return found

    def read_only(self) -> Counter[str]:
        """Run on a store that cannot be written, and again when it can."""
        with tmpfs(self.root / "fixed", "400m") as folder:
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
            assert self.run(folder / "results") == 2, self.log()
            subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
            assert self.run(folder / "results") == 0, self.log()
            self.check(folder / "results")
        return Counter(faults=1)

    def race(self, count: int) -> Counter[str]:
        """Start two runs on one store at once."""
        for turn in range(count):
            results = self.root / f"race-{turn}"
            both = [self.start(results / name, 2, results / "stages") for name in ("a", "b")]
            for process in both:
                process.join()
            assert [process.exitcode for process in both] == [0, 0], self.log()
            for name in ("a", "b"):
                self.check(results / name, results / "stages")
            shutil.rmtree(results)
        return Counter(faults=count)

    def check(self, results: Path, store: Path | None = None) -> None:
        """Fail unless the results equal those of the undisturbed run bit for bit."""
        found = outcome(results, store)
        assert found == self.expected, (
            f"{[key for key in self.expected if found.get(key) != self.expected[key]]} differ"
        )

    def log(self) -> str:
        """Return what the last command said."""
        return (self.root / "log.txt").read_text()[-2000:]


def begin(target: Callable[..., object], *arguments: object) -> BaseProcess:
    """Start a process."""
    process = worker_context().Process(target=target, args=arguments)
    process.start()
    return process


def command(words: list[str], log: Path, folders: dict[str, str]) -> None:
    """Run the command in this process, which then leads a session."""
    from cl_bench import cli

    os.setsid()
    os.environ.update(folders)
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = words
    cli.main()


def kill(process: BaseProcess) -> None:
    """Kill a command and all that it has started."""
    process.kill()
    assert process.pid is not None
    with suppress(ProcessLookupError):  # nothing else of it runs
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


def stages(results: Path) -> list[Path]:
    """Return the folders of the trained stages."""
    return sorted(path.parent for path in (results / "stages").glob("[!.]*/stage.json"))


def description(stage: Path) -> dict[str, str]:
    """Return what stage.json says."""
    found: dict[str, str] = json.loads((stage / "stage.json").read_text())
    return found


def finished(results: Path) -> dict[str, int]:
    """Return when each stage was finished."""
    return {stage.name: (stage / "stage.json").stat().st_mtime_ns for stage in stages(results)}


def changed(before: dict[str, int], results: Path) -> int:
    """Return how many stages that were finished `before` have been trained again since."""
    now = finished(results)
    return sum(now.get(key) != stamp for key, stamp in before.items())


def outcome(results: Path, store: Path | None = None) -> dict[str, bytes | str]:
    """Return the rows of the experiment and the hash of the last weights of every stage."""
    found: dict[str, bytes | str] = {"rows": (results / "faults" / "rows.csv").read_bytes()}
    for path in sorted((store or results / "stages").glob("[!.]*/stage.json")):
        found[path.parent.name] = json.loads(path.read_text())["hashes"]["last"]
    return found


def harm(path: Path, random: random.Random) -> None:
    """Tear a file, flip one of its bits, or remove it."""
    content = bytearray(path.read_bytes())
    how = random.choice(["tear", "flip", "remove"])
    if how == "remove":
        path.unlink()
    elif how == "tear":
        path.write_bytes(content[: random.randrange(len(content))])
    else:
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        path.write_bytes(content)


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system in memory, which needs root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def main() -> None:
    """Run the campaign and print a line for each sort of fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--damages", type=int, default=10)
    parser.add_argument("--races", type=int, default=3)
    parser.add_argument("--disks", action=argparse.BooleanOptionalAction, default=os.geteuid() == 0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        campaign = Campaign(Path(root), options.seed)
        seconds = campaign.undisturbed()
        print(f"undisturbed: {len(campaign.expected) - 1} stages in {seconds:.0f} s", flush=True)
        faults: dict[str, Callable[[], Counter[str]]] = {
            "SIGKILL at a random moment": lambda: campaign.kills(options.kills, seconds),
            "damaged file": lambda: campaign.damages(options.damages),
            "two runs on one store": lambda: campaign.race(options.races),
        }
        if options.disks:
            faults |= {"full disk": campaign.full_disk, "read-only store": campaign.read_only}
        for name, fault in faults.items():
            started = time.monotonic()
            found = fault()
            again = f", {found['trained again']} finished stages trained again" if "trained again" in found else ""
            seconds = time.monotonic() - started
            print(f"{name}: {found['faults']} faults{again}, rows and weights equal, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
