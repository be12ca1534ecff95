"""Plants the faults of mutations.yaml in a copy of the tree, one at a time; fails where the tests let one pass.

python benchmarks/mutations.py --json results/benchmarks/mutations.json
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import yaml
from pairs import keep

ROOT = Path(__file__).parent.parent
COPIED = ("cl_bench", "strategies", "experiments", "tests", "pyproject.toml")
LINKED = ("strategies", "experiments")
"""Folders that setup.cfg maps into the package."""

WHERE = "import importlib.util as util; print(util.find_spec('cl_bench.strategies.kd').origin)"


class Fault(NamedTuple):
    """What is wrong, in which file, which text becomes which, and the test files, by their last word, that are run."""

    what: str
    file: str
    old: str
    new: str
    tests: str


FAULTS = [Fault(**fault) for fault in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())]


def planted(tree: Path, fault: Fault) -> None:
    """Write the fault into a copy; end where its text is not there exactly once."""
    path = tree / fault.file
    text = path.read_text()
    if text.count(fault.old) != 1:
        raise SystemExit(f"{fault.what}: {fault.file} has {text.count(fault.old)} times the text {fault.old!r}")
    path.write_text(text.replace(fault.old, fault.new))


def copied(folder: Path) -> Path:
    """Copy the tree, so that the package is found there."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    for name in LINKED:
        (folder / "cl_bench" / name).symlink_to(folder / name)
    return folder


def python(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python on a copy of the tree, one thread each."""
    more = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=tree, env={**os.environ, **more}, capture_output=True, text=True, check=False)


def caught(fault: Fault | None, words: str) -> list[str]:
    """Return the tests that fail, of the files whose names end with one of `words`, where `fault` is planted."""
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder).resolve())
        if fault:
            planted(tree, fault)
        where = python(tree, "-c", WHERE).stdout
        if not Path(where.strip()).resolve().is_relative_to(tree):
            raise SystemExit(f"the copy's tests would run on other code: {where}")
        files = sorted({str(path) for word in words.split() for path in tree.glob(f"tests/strategies/test_*{word}.py")})
        done = python(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", "-rfE", *files)
        found = re.findall(r"^(?:FAILED|ERROR) (?:\S*::)?(\w+)", done.stdout, re.MULTILINE)
        if done.returncode not in (0, 1) or bool(found) != bool(done.returncode):
            raise SystemExit(f"{fault.what if fault else 'no fault'}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        print(f"{fault.what if fault else 'no fault'}: {', '.join(sorted(set(found))) or 'passed by all'}", flush=True)
        return sorted(set(found))


def main() -> None:
    """Run the tests once without a fault, and once for each; print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="faults at a time")
    parser.add_argument("--only", default="", help="faults whose names have this text")
    parser.add_argument("--json", type=Path, help="keep which test caught what in this file")
    options = parser.parse_args()
    faults = [fault for fault in FAULTS if options.only in fault.what]
    with ThreadPoolExecutor(options.jobs) as pool:
        untouched = pool.submit(caught, None, " ".join(sorted({fault.tests for fault in faults})))
        found = list(pool.map(lambda fault: caught(fault, fault.tests), faults))
    if untouched.result():
        raise SystemExit(f"without a fault these fail: {untouched.result()}")
    rows = [{"fault": f.what, "file": f.file, "caught by": tests} for f, tests in zip(faults, found, strict=True)]
    keep(options, {"faults": rows})
    if survived := [fault.what for fault, tests in zip(faults, found, strict=True) if not tests]:
        raise SystemExit(f"no test catches: {', '.join(survived)}")


if __name__ == "__main__":
    main()
