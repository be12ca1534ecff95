"""Markdown, and what the source says of fields in the docstrings beneath them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path

BUILT = "<!-- built from the code: make reference -->\n"


def page(title: str, opening: str, *parts: str) -> str:
    """Return a page; opening: who it is for."""
    return "\n\n".join([f"{BUILT}\n# {title}", opening, *(part.strip() for part in parts)]) + "\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a bar in a cell does not end it."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def code(text: object) -> str:
    """Return `text` as code, nothing where it is empty."""
    return f"`{text}`" if str(text) else ""


def one_line(text: str | None) -> str:
    """Return the first paragraph of `text` on one line."""
    return " ".join((text or "").strip().partition("\n\n")[0].split())


def field_docs(module: Path) -> dict[str, dict[str, str]]:
    """Return by class and field the docstring beneath the field in the source."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            pairs = zip(node.body, node.body[1:], strict=False)
            found[node.name] = {
                field.target.id: " ".join(doc.value.value.split())
                for field, doc in pairs
                if isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(doc, ast.Expr)
                and isinstance(doc.value, ast.Constant)
                and isinstance(doc.value.value, str)
            }
    return found


def docs_of(cls: type) -> dict[str, str]:
    """Return by field what the source of `cls` and of its bases says beneath it."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("cl_bench."):
            found |= field_docs(Path(inspect.getfile(base))).get(base.__name__, {})
    return found
