"""How files are read, kept by folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from cl_bench.data import index, readings
from cl_bench.data.images import Reading


@pytest.mark.parametrize("files", [{"x": [1, 2, 3, 4, 5]}, {"x": 3}, {}])
def test_what_is_kept_is_not_opened_again_and_what_is_damaged_is_made_anew(
    files: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path / "cache"))
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    kept = index.place("readings", tmp_path)
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps({"schema": readings.SCHEMA, "files": files}))
    assert readings.readings([tmp_path / "a.png"], ["its hash"]) == [Reading()]
    monkeypatch.setattr(readings, "reading", lambda path: pytest.fail(f"{path} was opened again"))
    assert readings.readings([tmp_path / "a.png"], ["its hash"]) == [Reading()]
