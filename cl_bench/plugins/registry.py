"""Finds strategies, kinds and data formats: built-in, from entry points, and from files the user names."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from cl_bench.errors import UserError, describe_error, unknown_name_error
from cl_bench.plugins.code_origin import definition, is_typed, note_code, source_of
from cl_bench.plugins.entry import StrategyEntry, check_name

T = TypeVar("T")
"""The type of what a registry holds."""


@dataclass
class Registry(Generic[T]):
    """Named things of one sort, loaded on first use from a package, from entry points and from plugin files."""

    what: str
    package: str = ""
    """Whose modules add to it, if any."""
    group: str = ""
    """Of the entry points by which installed packages add to it, if any."""
    entries: dict[str, T] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    """Module or entry point -> why it could not be imported."""
    _loaded: bool = False
    _importing: str | None = None
    """The module that a plug-in file is being imported as."""
    _declared: set[str] = field(default_factory=set)
    """What has been declared since that began."""

    def add(self, name: str, thing: T) -> None:
        """Register `thing`; raise UserError where another file has the name, or a plug-in file has it twice.

        What was typed in a session, a cell of a notebook among it, may be typed anew, or be put into a file.
        """
        known, module = self.entries.get(name), definition(thing).__module__
        if known is not None and not is_typed(known) and source_of(known) != source_of(thing):
            raise UserError(f"{self.what} {name!r} is defined twice: in {source_of(known)} and in {source_of(thing)}")
        if module == self._importing and name in self._declared:
            raise UserError(f"{self.what} {name!r} is defined twice in {source_of(thing)}")
        self._declared.add(name)
        note_code(thing, declared_before=known is not None and definition(known) is definition(thing))
        self.entries[name] = thing

    @contextlib.contextmanager
    def importing(self, module: str, before: str | None) -> Iterator[None]:
        """Import a plug-in file as `module` within; before: the module that it was when it was imported last.

        What it declares twice is refused, and what it no longer declares goes. Where the import raises, all is as it
        was.
        """
        entries, outer = dict(self.entries), (self._importing, self._declared)
        self._importing, self._declared = module, set()
        try:
            yield
        except BaseException:
            self.entries = entries
            raise
        else:
            for name in [name for name, thing in self.entries.items() if definition(thing).__module__ == before]:
                del self.entries[name]
        finally:
            self._importing, self._declared = outer

    def register(self, cls: type) -> type:
        """Register one instance of the decorated class under its `name`."""
        self.add(cls.name, cls())  # type: ignore[attr-defined]
        return cls

    def get(self, name: str) -> T:
        """Return what `name` stands for; raise UserError with the nearest known name where there is none."""
        self.load()
        if name not in self.entries:
            raise unknown_name_error(self.what, name, self.entries, _plugin_hint(name) + self._broken_hint())
        return self.entries[name]

    def _broken_hint(self) -> str:
        return "".join(f"; {module} is not importable: {reason}" for module, reason in self.broken.items())

    def load(self) -> None:
        """Import every module of the package and every entry point; a failure is kept in `broken`, not raised."""
        if self._loaded:
            return
        self._loaded = True
        if self.package:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__, self.package + "."):
                self._attempt(module.name, lambda name=module.name: importlib.import_module(name))  # type: ignore[misc]
        if self.group:
            for point in importlib.metadata.entry_points(group=self.group):
                self._attempt(point.value, point.load)

    def _attempt(self, name: str, load: Callable[[], object]) -> None:
        try:
            load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # one broken plug-in must stop nothing else, whatever it raises
            self.broken[name] = describe_error(error)

    def __iter__(self) -> Iterator[str]:
        self.load()
        return iter(sorted(self.entries))


strategies: Registry[StrategyEntry] = Registry("strategy", "cl_bench.strategies", "cl_bench.strategies")
kinds: Registry[Any] = Registry("kind", "cl_bench.kinds", "cl_bench.kinds")
formats: Registry[Any] = Registry("data format", "cl_bench.data.formats", "cl_bench.formats")


def strategy(
    name: str,
    *,
    summary: str = "",
    paper: str = "",
    together: bool = False,
    neutral: dict[str, Any] | None = None,
    added: dict[str, Any] | None = None,
    renamed: dict[str, str] | None = None,
) -> Callable[[Callable[..., Sequence[Any]]], Callable[..., Sequence[Any]]]:
    """Declare the decorated function a strategy: its arguments are the settings, it returns Avalanche plugins.

    name: as written in an experiment; together: all tasks in one stage; neutral: the settings at
    which it must equal naive bit for bit; added: settings that came later, each with the value at which the strategy
    does what it did before, so that what a built-in one had trained is still found; renamed: settings with the names
    they had before, which go on working and stay in stages' keys. Raises UserError for settings in these that are none.
    """

    check_name(name)

    def declare(build: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
        for which, settings in (("added", added), ("neutral", neutral), ("renamed", renamed)):
            for setting in settings or {}:
                if setting not in (known := inspect.signature(build).parameters):
                    raise unknown_name_error(f"{which} setting of strategy {name!r}", setting, known)
        strategies.add(name, StrategyEntry(name, build, summary, paper, together, neutral, added or {}, renamed or {}))
        return build

    return declare


def kind(cls: type) -> type:
    """Declare the decorated class, a `cl_bench.kinds.base.Kind`, a kind of task, by its `name`.

    ::

        @cl_bench.kind
        class Depth(Kind):
            name = "depth"
    """
    return kinds.register(cls)


def data_format(cls: type) -> type:
    """Declare the decorated class, a `cl_bench.data.base.DataFormat`, a format of data, by its `name`.

    ::

        @cl_bench.data_format
        class Lists:
            name, kinds = "lists", ("classification",)
    """
    return formats.register(cls)


BUILT_IN_TRACKERS = ("tensorboard", "wandb", "mlflow")
trackers: Registry[Callable[[Any, Path], str]] = Registry("tracker")
"""What `tracker` has declared."""


def tracker(name: str) -> Callable[[Callable[[Any, Path], str]], Callable[[Any, Path], str]]:
    """Declare the decorated function a tracker, to be named in an experiment's `trackers`.

    It takes the results (`cl_bench.report.trackers.base.Tracked`) and their folder, and returns where it has put them::

        @cl_bench.tracker("post")
        def post(tracked, folder):
            return requests.post(URL, json={"table": tracked.table}).url

    Raises UserError for a name that is taken.
    """
    if name in BUILT_IN_TRACKERS:
        raise UserError(f"tracker {name!r} is built in: call yours something else")

    def declare(send: Callable[[Any, Path], str]) -> Callable[[Any, Path], str]:
        trackers.add(name, send)
        return send

    return declare


def _plugin_hint(name: str) -> str:
    path = Path(f"{name}.py")
    if not (name.isidentifier() and os.path.isfile(path)):  # which is False for a name too long for the file system
        return ""
    imported = any(getattr(module, "__file__", None) == str(path.resolve()) for module in list(sys.modules.values()))
    return "" if imported else f"; if {path} declares it, add --plugin {path}"
