"""Imports the files that the user names with --plugin, anew where they or their helpers were edited."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cl_bench.errors import UserError, describe_error
from cl_bench.plugins import registry, source_hash

_PREFIX = "cl_bench_plugin_"
_imported: dict[Path, str] = {}
"""Plugin file -> the module it was last imported as."""


def load_plugin_files(paths: Sequence[str | Path]) -> None:
    """Import the user's files, each of which may declare strategies, kinds and data formats."""
    if paths:
        for loaded in (registry.strategies, registry.kinds, registry.formats):
            loaded.load()  # first, so that a name of ours is taken whatever the order
    for path in map(Path, paths):
        if not os.path.isfile(path):  # which is False, and no error, for a name that no file system takes
            raise UserError(f"plugin file {path.absolute()} does not exist")
        place = path.resolve()
        try:
            files, content = source_hash.files(place, place.stem), source_hash.source_hash(place, place.stem)
        except OSError as error:
            raise UserError(f"plugin file {path} cannot be read: {error}") from error
        # The content is part of the name: what was edited since it was imported is imported anew.
        name = f"{_PREFIX}{hashlib.sha256(os.fsencode(f'{place} {content}')).hexdigest()[:12]}"
        if (before := _imported.get(place)) == name:
            continue
        _forget(files)
        if str(place.parent) not in sys.path:
            sys.path.append(str(place.parent))  # last, so that a helper beside it hides nothing
        _check_helpers(place, files[1:])
        spec = importlib.util.spec_from_file_location(name, place)
        if spec is None or spec.loader is None:
            raise UserError(f"plugin file {path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        _imported[place] = name
        try:
            with contextlib.ExitStack() as stack:
                for filled in (registry.strategies, registry.kinds, registry.formats, registry.trackers):
                    stack.enter_context(filled.importing(name, before))
                spec.loader.exec_module(module)
        except BaseException as error:  # a file may raise anything
            del sys.modules[name], _imported[place]
            if before is not None:
                _imported[place] = before
            if isinstance(error, (UserError, KeyboardInterrupt)):
                raise
            raise UserError(f"plugin file {path} failed to import: {describe_error(error)}") from error


def _forget(files: Sequence[Path]) -> None:
    """Drop the bytecode of a plugin file, the first, and of its helpers, the rest, and the helpers' modules."""
    for file in files:
        # Bytecode counts as fresh while its source has the same size and second: after a quick edit it is the old code.
        with contextlib.suppress(OSError, NotImplementedError):
            Path(importlib.util.cache_from_source(str(file))).unlink()
    importlib.invalidate_caches()
    modules = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    gone = {str(path) for path in files}
    stale = {name for name, file in modules.items() if file and os.path.realpath(file) in gone}
    for name in [name for name in sys.modules if any(f"{name}.".startswith(f"{one}.") for one in stale)]:
        if name.startswith(_PREFIX):
            continue  # a plugin itself, as it was: what was made of it lives on
        del sys.modules[name]
        package, _, module = name.rpartition(".")
        if package in sys.modules:
            vars(sys.modules[package]).pop(module, None)


def _check_helpers(place: Path, helpers: Sequence[Path]) -> None:
    """Raise UserError where Python imports a file of the user's from elsewhere in place of one beside a plugin file."""
    beside = [file.relative_to(place.parent).parts[0] for file in helpers if file.is_relative_to(place.parent)]
    for name in sorted({part.removesuffix(".py") for part in beside} - sys.stdlib_module_names):
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            continue
        if spec is None:
            continue
        package = place.parent / name
        own = {os.path.realpath(path) for path in (f"{package}.py", package / "__init__.py", package)}
        found = spec.submodule_search_locations if not spec.has_location else [spec.origin]
        taken = [os.path.realpath(path) for path in found or () if path]
        if own.isdisjoint(taken) and not any("-packages" in path for path in taken):
            raise UserError(
                f"plugin file {place}: Python imports {name!r} from {', '.join(taken)}, not from beside it: rename one"
            )
