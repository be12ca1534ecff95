"""What is installed from a wheel works without the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("cl_bench", "strategies", "experiments", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel was unpacked; what setuptools builds on the way stays out of the clone."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source, target = ROOT / name, folder / "source" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(folder / "source")], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "installed")
    return folder / "installed"


def said(installed: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "cl_bench", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=installed.parent, env=environment)
    return done.stdout


def test_the_wheel_has_all_that_the_clone_has(installed: Path) -> None:
    packages = {"cl_bench": "cl_bench", "strategies": "cl_bench/strategies", "experiments": "cl_bench/experiments"}
    for source, target in packages.items():
        files = [path for path in (ROOT / source).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert files
        missing = [path for path in files if not (installed / target / path.relative_to(ROOT / source)).is_file()]
        assert missing == []


def test_the_wheel_runs_outside_the_clone(installed: Path) -> None:
    code = "import cl_bench; print(cl_bench.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=installed.parent, env=environment
    )
    assert found.stdout.startswith(str(installed))
    assert "consolidate" in said(installed, "list", "strategies")
    assert "tasks:" in said(installed, "config", "quickstart")
    assert "naive" in said(installed, "table", str(ROOT / "results" / "quickstart"))
