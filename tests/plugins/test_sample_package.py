"""A package of somebody else's: installed, its entry points are found; a broken one stops nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cl_bench.data.formats.scenes import generate, parse

SAMPLE = Path(__file__).parent / "sample_package"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that has the package; nothing is downloaded for it."""
    source, target = tmp_path_factory.mktemp("sample") / "source", tmp_path_factory.mktemp("site")
    shutil.copytree(SAMPLE, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True)
    return {**os.environ, "PYTHONPATH": str(target), "CL_BENCH_RESULTS": str(target / "results")}


def command(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cl_bench", *words], env=environment, capture_output=True, text=True, check=False
    )


def test_its_strategy_and_format_are_listed_and_what_is_broken_is_said(installed: dict[str, str]) -> None:
    listed = command(installed, "list", "strategies")
    assert listed.returncode == 0
    assert "half_rate       learn half as fast after the first task" in listed.stdout
    assert "cl_bench_sample_that_is_not_there: not importable: ModuleNotFoundError" in listed.stdout
    assert "listed" in command(installed, "list", "formats").stdout
    unknown = command(installed, "check", "half_rat")
    assert "cl_bench_sample_that_is_not_there is not importable" in " ".join(unknown.stdout.split())


def test_its_strategy_passes_the_checks(installed: dict[str, str]) -> None:
    checked = command(installed, "check", "half_rate")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "differs from naive from stage 2 on" in checked.stdout


def test_its_kind_learns_from_its_format(installed: dict[str, str], tmp_path: Path) -> None:
    found = generate(parse({"train": 12, "val": 10, "size": 64}), "classification")
    for split in ("train", "val"):
        lines = [f"{path},{path.parent.name in '02468':d}" for path in sorted((found / split).rglob("*.jpg"))]
        (tmp_path / f"{split}.csv").write_text("\n".join(lines))
    tasks = [{"name": "even", "kind": "presence", "data": {"format": "listed", "path": str(tmp_path)}}]
    model = {"backbone": "test_efficientnet", "weights": "none", "neck_channels": 16, "shared_channels": 8}
    content = {"tasks": tasks, "strategies": [], "model": model, "epochs": 1, "batch_size": 4, "image_size": 64}
    (tmp_path / "theirs.yaml").write_text(yaml.safe_dump(content))
    ran = command(installed, "run", str(tmp_path / "theirs.yaml"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    rows = (Path(installed["CL_BENCH_RESULTS"]) / "theirs" / "rows.csv").read_text()
    assert "even,val,,Top-1," in rows
