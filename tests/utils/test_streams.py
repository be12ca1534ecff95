"""Output where not every sign can be shown."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl_bench.utils.streams import readable


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8"])
def test_signs_that_a_stream_lacks_are_replaced(tmp_path: Path, encoding: str) -> None:
    for split, count in (("train", 2), ("val", 1)):
        for place, name in enumerate(("猫", "dog")):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                shade = np.full((8, 8, 3), 50 * place + 20 * i + 7 * (split == "val"), np.uint8)
                Image.fromarray(shade).save(tmp_path / split / name / f"{i}.png")
    (tmp_path / "own.yaml").write_text(
        "description: own\ntasks: [{name: own, kind: classification, data: {format: image_folder, "
        f"path: {tmp_path}}}}}]\nstrategies: []\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "cl_bench", "data", "audit", str(tmp_path / "own.yaml")],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    shown = ran.stdout.decode(encoding)
    assert ("猫" if encoding == "utf-8" else "?") in shown
    assert "dog" in shown


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", "84 F? P V - # <= 猫"), ("cp1252", "84 F? P V - † <= 猫"), ("utf-8", "84 ✗? ✓ ∅ ─ † ≤ 猫")],
)
def test_a_tables_signs_have_letters_where_a_stream_lacks_them(encoding: str, shown: str) -> None:
    assert readable("84 ✗? ✓ ∅ ─ † ≤ 猫", io.TextIOWrapper(io.BytesIO(), encoding=encoding)) == shown
    assert readable("✗", io.StringIO()) == "✗"
