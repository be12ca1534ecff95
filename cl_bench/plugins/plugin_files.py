"""Imports the files that the user names with --plugin, anew where they or their helpers were edited."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from cl_bench.errors import UserError, describe_error
from cl_bench.plugins import registry, source_hash

_imported: dict[Path, str] = {}
"""Plugin file -> the module it was last imported as."""


def load_plugin_files(paths: Sequence[str | Path]) -> None:
    """Import the user's files, each of which may declare strategies, kinds and data formats."""
    if paths:
        for loaded in (registry.strategies, registry.kinds, registry.formats):
            loaded.load()  # first, so that a name of ours is taken whatever the order
    for path in map(Path, paths):
        if not path.is_file():
            raise UserError(f"plugin file {path.absolute()} does not exist")
        place = path.resolve()
        # The content is part of the name: what was edited since it was imported is imported anew.
        content = f"{place} {source_hash.source_hash(place, place.stem)}"
        name = f"cl_bench_plugin_{hashlib.sha256(content.encode()).hexdigest()[:12]}"
        if _imported.get(place) == name:
            continue
        _forget(source_hash.files(place, place.stem))
        if str(place.parent) not in sys.path:
            sys.path.append(str(place.parent))  # last, so that a helper beside it hides nothing
        spec = importlib.util.spec_from_file_location(name, place)
        if spec is None or spec.loader is None:
            raise UserError(f"plugin file {path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        _imported[place] = name
        try:
            with contextlib.ExitStack() as stack:
                for filled in (registry.strategies, registry.kinds, registry.formats, registry.trackers):
                    stack.enter_context(filled.importing())
                spec.loader.exec_module(module)
        except BaseException as error:  # a file may raise anything
            del sys.modules[name], _imported[place]
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
    gone = {str(path) for path in files[1:]}  # not the plugin itself, whose module's name holds its content
    stale = {name for name, module in list(sys.modules.items()) if getattr(module, "__file__", None) in gone}
    for name in [name for name in sys.modules if any(f"{name}.".startswith(f"{one}.") for one in stale)]:
        del sys.modules[name]
