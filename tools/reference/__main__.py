"""Writes the pages of docs/reference that are built from the code: python -m tools.reference."""

from __future__ import annotations

from tools.reference import FOLDER, PAGES

for name, page in PAGES.items():
    (FOLDER / name).write_text(page(), encoding="utf-8")
