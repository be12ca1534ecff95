"""A package of somebody else's: installed, its entry points are found; a broken one stops nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from processes import begin, ended, errors

from cl_bench.data.formats.scenes import generate, parse

SAMPLE = Path(__file__).parent / "sample_package"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package was installed into; nothing is downloaded for it."""
    source, target = tmp_path_factory.mktemp("sample") / "source", tmp_path_factory.mktemp("site")
    shutil.copytree(SAMPLE, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True)
    return target


def command(installed: Path, *words: str) -> tuple[int, str, str]:
    """Return the exit code of a command that can import the package, what it printed, and what it said of errors."""
    argv, said = ["cl-bench", *words], installed / f"{words[0]}-{Path(words[1]).name}.txt"
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); sys.argv = {argv}; from cl_bench import cli; cli.main()"
    )
    return ended(begin(code, said, CL_BENCH_RESULTS=str(installed / "results"))), said.read_text(), errors(said)


def test_its_strategy_and_format_are_listed_and_what_is_broken_is_said(installed: Path) -> None:
    code, listed, _ = command(installed, "list", "strategies")
    assert code == 0
    assert "half_rate       learn half as fast after the first task" in listed
    assert "cl_bench_sample_that_is_not_there: not importable: ModuleNotFoundError" in listed
    assert "listed" in command(installed, "list", "formats")[1]
    _, unknown, _ = command(installed, "check", "half_rat")
    assert "cl_bench_sample_that_is_not_there is not importable" in " ".join(unknown.split())


def test_its_strategy_passes_the_checks(installed: Path) -> None:
    code, said, complaint = command(installed, "check", "half_rate")
    assert code == 0, said + complaint
    assert "differs from naive from stage 2 on" in said


def test_its_kind_learns_from_its_format(installed: Path, tmp_path: Path) -> None:
    found = generate(parse({"train": 12, "val": 10, "size": 64}), "classification")
    for split in ("train", "val"):
        lines = [f"{path},{path.parent.name in '02468':d}" for path in sorted((found / split).rglob("*.jpg"))]
        (tmp_path / f"{split}.csv").write_text("\n".join(lines))
    tasks = [{"name": "even", "kind": "presence", "data": {"format": "listed", "path": str(tmp_path)}}]
    model = {"backbone": "test_efficientnet", "weights": "none", "neck_channels": 16, "shared_channels": 8}
    content = {"tasks": tasks, "strategies": [], "model": model, "epochs": 1, "batch_size": 4, "image_size": 64}
    (tmp_path / "theirs.yaml").write_text(yaml.safe_dump(content))
    code, said, complaint = command(installed, "run", str(tmp_path / "theirs.yaml"))
    assert code == 0, said + complaint
    rows = (installed / "results" / "theirs" / "rows.csv").read_text()
    assert "even,val,,Top-1," in rows
