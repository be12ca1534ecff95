"""The files that code from outside this package is made of: one, and what it imports from beside it."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path


def source_hash(path: Path, module: str) -> str:
    """Return the SHA-256 of the file at `path`, imported as `module`, and of all that it imports from beside it."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files(path, module))).hexdigest()


def files(path: Path, module: str) -> list[Path]:
    """Return the file, and sorted behind it what it imports from beside it, directly or not, whether it runs or not.

    Beside it: the modules of its own package, or what lies in the folder of a file that was imported without one, and
    the modules of the package that it lies in nonetheless. What is installed is known by its version, Avalanche's own
    modules among it, and this package is nobody's helper, though in a clone it lies beside what is written there.
    """
    if module.partition(".")[0] == "avalanche":
        return [path]
    path = path.resolve()
    packaged = "." in module or path.name == "__init__.py"
    above = len(module.split(".")) - (path.name != "__init__.py")
    root = path.parents[min(above, len(path.parents) - 1)] if packaged else path.parent
    if not packaged and root.name in ("site-packages", "dist-packages"):
        return [path]  # what lies beside it is everything
    roots = {root: module.partition(".")[0] if packaged else ""}
    if not packaged and (root / "__init__.py").is_file():
        top = next(folder for folder in path.parents if not (folder.parent / "__init__.py").is_file())
        roots[top.parent] = top.name
    found, left = {path}, [path]
    while left:
        file = left.pop()
        for place, package in roots.items():
            for name in set(_imported(file, place)) if file.is_relative_to(place) else ():
                top_name = name.partition(".")[0]
                if top_name == package if package else top_name != "cl_bench":
                    new = set(_run_by(place, name)) - found
                    found |= new
                    left += new
    return [path, *sorted(found - {path})]


def _run_by(root: Path, name: str) -> Iterator[Path]:
    """Give the files below `root` that run when `name` is imported: its own, and those of the packages it is in."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:length])
        yield from (file for file in (place.with_name(f"{place.name}.py"), place / "__init__.py") if file.is_file())


def _imported(path: Path, root: Path) -> Iterator[str]:
    """Give the absolute names of what the file's imports may mean: modules, and what may be one."""
    package = ".".join(path.parent.relative_to(root).parts)
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # which its import says better
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level <= len(path.parent.relative_to(root).parts):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
