"""Which commit figures are said to come from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cl_bench.utils import provenance


def test_the_repository_that_this_package_is_installed_in_is_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "venv" / "cl_bench"
    (package / "utils").mkdir(parents=True)
    (package / "__init__.py").touch()
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "theirs"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(provenance, "__file__", str(package / "utils" / "provenance.py"))
    assert provenance.commit() == ""
    subprocess.run(["git", "-C", str(tmp_path), "add", "venv"], check=True)
    assert provenance.commit().endswith("+changes")
