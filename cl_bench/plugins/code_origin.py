"""Where declared code comes from, and what tells it from other code in a stage's key."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import linecache
from pathlib import Path
from typing import Any

from cl_bench.errors import UserError
from cl_bench.plugins import source_hash
from cl_bench.plugins.entry import StrategyEntry


def definition(thing: Any) -> Any:
    """Return the function or the class that `thing` is or comes from: a strategy entry, a class or an instance."""
    subject = inspect.unwrap(thing.build) if isinstance(thing, StrategyEntry) else thing
    return subject if inspect.isfunction(subject) or inspect.isclass(subject) else type(subject)


def source_of(thing: Any) -> str:
    """Return the file that defines `thing`, or what stands for it."""
    subject = definition(thing)
    # For a class typed in a session inspect names the session's own file, or none.
    if subject.__module__ == "__main__" and (found := _code_file(subject)):
        return found
    file = None
    with contextlib.suppress(TypeError, OSError):
        file = inspect.getsourcefile(subject)
    return file or str(subject.__module__)


def is_typed(thing: Any) -> bool:
    """Return whether `thing` was typed in a session, as in a cell of a notebook, and lies in no file."""
    return definition(thing).__module__ == "__main__" and not Path(source_of(thing)).is_file()


_codes: dict[str, str] = {}
"""Module from outside this package -> what its code was when something of it was declared."""


def note_code(thing: Any, *, declared_before: bool) -> None:
    """Keep what the code of `thing` is now, at its import; what was declared before keeps what it had then."""
    module, path = definition(thing).__module__, Path(source_of(thing))
    if not (_is_ours(thing) or (declared_before and module in _codes)) and path.is_file():
        _codes[module] = source_hash.source_hash(path, module)


def _is_ours(thing: Any) -> bool:
    module = definition(thing).__module__
    return module.startswith("cl_bench.") and module != f"{__package__}.adapted"


def code_identity(thing: Any) -> str | None:
    """Return the SHA-256 of the files that define code from outside this package, for a stage's key.

    None for our own, which the numerics version covers; Avalanche's plug-ins that are adapted here count as outside
    code. A file's code is what it was when it was imported, however it was edited since. What was typed in a session
    has the hash of its cell. Raises UserError where no source is found.
    """
    subject = definition(thing)
    if _is_ours(thing):
        return None
    if subject.__module__ in _codes:
        return _codes[subject.__module__]
    path = Path(source_of(thing))
    if path.is_file():
        return source_hash.source_hash(path, subject.__module__)
    typed = "".join(linecache.getlines(str(path)))
    if not typed:
        raise UserError(
            f"the source of {subject.__qualname__} cannot be found, so that stages trained with it could not be told "
            "from others: put it into a file"
        )
    return hashlib.sha256(typed.encode()).hexdigest()


def _code_file(subject: Any) -> str:
    """Return what Python calls the file of a function, or of a class' methods; empty where none has its source."""
    parts = vars(subject).values() if inspect.isclass(subject) else (subject,)
    names = (part.__code__.co_filename for part in parts if inspect.isfunction(part))
    return next((name for name in names if linecache.getlines(name)), "")
