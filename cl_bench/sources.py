"""The files that code from outside this package is made of: one, and what it imports from beside it."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path


def identity(path: Path, module: str) -> str:
    """Return the SHA-256 of the file at `path`, imported as `module`, and of all that it imports from beside it.

    Beside it: the modules of its own package, or those in the folder of a file that is in no package. Other packages
    are known by their versions, Avalanche's own modules among them.
    """
    return hashlib.sha256(b"".join(file.read_bytes() for file in _files(path, module))).hexdigest()


def _files(path: Path, module: str) -> list[Path]:
    """Return the file, and sorted behind it what it needs, directly or not."""
    top = module.partition(".")[0]
    if top == "avalanche":
        return [path]
    packaged = "." in module or path.name == "__init__.py"
    found, left = {path}, [(path, module)]
    while left:
        for name in set(_imported(*left.pop())):
            file = getattr(sys.modules.get(name), "__file__", None)
            beside = name.partition(".")[0] == top if packaged else file and Path(file).parent == path.parent
            if file and beside and file.endswith(".py") and Path(file) not in found:
                found.add(Path(file))
                left.append((Path(file), name))
    return [path, *sorted(found - {path})]


def _imported(path: Path, module: str) -> Iterator[str]:
    """Give the absolute names of what the file's imports may mean: modules, and what may be one."""
    package = getattr(sys.modules.get(module), "__package__", None) or ""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (package or not node.level):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
