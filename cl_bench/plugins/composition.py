"""Strategies as written: `kd[temperature=4]+replay[memory=20]`, or an Avalanche plug-in by its dotted path."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from cl_bench.errors import UserError, describe_error, unknown_name_error
from cl_bench.plugins.code_origin import code_identity
from cl_bench.plugins.entry import StrategyEntry
from cl_bench.plugins.registry import strategies
from cl_bench.plugins.stock import adapted, refusal, wrong_setting
from cl_bench.plugins.traits import Traits, traits_of
from cl_bench.utils.parsing import load_yaml, split, split_list, without_blanks

_TERM = re.compile(r"(?P<name>[A-Za-z_][\w.-]*)\s*(\[(?P<settings>.*)\])?", re.DOTALL)


@dataclass(frozen=True)
class Term:
    """One part of a composition with all its settings, defaults included."""

    name: str
    settings: Mapping[str, Any]
    entry: StrategyEntry

    @property
    def text(self) -> str:
        """The term in words, with the settings that are not their defaults."""
        own = [f"{k}={v}" for k, v in self.settings.items() if v != self.entry.parameters[k].default]
        return f"{self.name}[{','.join(own)}]" if own else self.name

    def build(self) -> list[Any]:
        """Return fresh plug-ins; raise UserError where the strategy raises, or returns what is none."""
        try:
            plugins = list(self.entry.build(**self.settings))
        except (TypeError, ValueError, AssertionError) as error:
            raise UserError(f"strategy {self.name} does not accept its settings: {error}") from error
        except Exception as error:  # somebody's code may raise anything
            raise UserError(f"strategy {self.name} cannot be built: {describe_error(error)}") from error
        for plugin in plugins:
            if not hasattr(plugin, "before_training_exp"):
                raise UserError(f"strategy {self.name} returns {plugin!r}, which is no plug-in of Avalanche's")
            if not isinstance(getattr(plugin, "acts_from", 1), int):
                raise UserError(f"strategy {self.name}: acts_from is the number of a stage, not {plugin.acts_from!r}")
        return plugins

    @cached_property
    def traits(self) -> tuple[Traits, ...]:
        """What its plug-ins say of themselves."""
        return tuple(map(traits_of, self.build()))

    @property
    def acts_from(self) -> int | None:
        """The first stage (1, 2, ...) in which the term changes anything; None where it never does."""
        return min((plugin.acts_from for plugin in self.traits), default=None)

    def code(self) -> tuple[str, ...]:
        """Return the hashes of the files from outside this package that define the strategy and its plug-ins."""
        found = {code_identity(self.entry), *(plugin.code for plugin in self.traits)}
        return tuple(sorted(one for one in found if one is not None))

    def identity(self) -> dict[str, Any]:
        """Return what the term contributes to a stage's key."""
        added, renamed = self.entry.added, self.entry.renamed
        settings = {renamed.get(k, k): v for k, v in self.settings.items() if k not in added or v != added[k]}
        return {"name": self.name, "settings": settings, "code": list(self.code())}


@dataclass(frozen=True)
class Composition:
    """A strategy as planned: its terms in the order written."""

    text: str
    terms: tuple[Term, ...]

    @property
    def traits(self) -> tuple[Traits, ...]:
        """What the plug-ins of all terms say of themselves."""
        return tuple(plugin for term in self.terms for plugin in term.traits)

    @property
    def together(self) -> bool:
        """Whether all tasks are trained in one stage."""
        return any(term.entry.together for term in self.terms)

    @property
    def chained(self) -> bool:
        """Whether its stages need one process, as a plug-in that acts from the first on holds what cannot be stored."""
        first = [plugin for plugin in self.traits if plugin.acts_from == 1]
        return not all(plugin.storable for plugin in first)

    def acting(self, position: int) -> tuple[Term, ...]:
        """Return the terms that act in the stage at 0-based `position`."""
        return tuple(term for term in self.terms if term.acts_from is not None and term.acts_from <= position + 1)


def parse(text: str) -> Composition:
    """Return the composition that `text` names; raise UserError for unknown names and settings."""
    terms = []
    for part in split(text, "+"):
        terms.append(_term(*parse_term(part, text), text))
    composition = Composition(without_blanks(text), tuple(terms))
    if composition.together and any((term.acts_from or 1) > 1 for term in terms):
        raise UserError(
            f"strategy {text!r}: training all tasks together leaves no later stage for the others to act in"
        )
    if sum(plugin.rehearses for plugin in composition.traits) > 1:
        raise UserError(
            f"strategy {text!r}: two parts train on stored images, and a step has room for one batch of them"
        )
    if late := [term for term in terms[1:] if any(plugin.goes_first for plugin in term.traits)]:
        others = [term.text for term in terms if term is not late[0]]
        named = "+".join([late[0].text, *others])
        raise UserError(f"strategy {text!r}: {late[0].name} takes each step once more and must be named first: {named}")
    return composition


def parse_term(part: str, text: str) -> tuple[str, str]:
    """Return name and settings of one part of the strategy `text`, as they are written."""
    match = _TERM.fullmatch(part)
    if not match:
        raise UserError(f"strategy {text!r} is not understood at {part!r}; write name[setting=value]+name")
    return match["name"], match["settings"] or ""


def former_settings(text: str) -> list[str]:
    """Return a sentence for each setting that the strategy `text` names as it was called before."""
    found = []
    for part in split(text, "+"):
        name, settings = parse_term(part, text)
        written = {pair.partition("=")[0].strip() for pair in split_list(settings)}
        renamed = term_entry(name).renamed.items()
        found += [f"strategy {text!r}: {old} is called {new} now" for new, old in renamed if old in written]
    return found


def term_entry(name: str) -> StrategyEntry:
    """Return the strategy of this name, or the plug-in at this dotted path."""
    return _dotted(name) if "." in name else strategies.get(name)


def _term(name: str, settings: str, text: str) -> Term:
    entry = term_entry(name)
    given = {}
    for pair in split_list(settings):
        key, sign, value = pair.partition("=")
        if not sign:
            raise UserError(f"strategy {text!r}: {pair!r} is not setting=value")
        given[key.strip()] = read_value(value)
    return Term(name, _resolve(entry, _renamed(entry, given, text), text), entry)


def _renamed(entry: StrategyEntry, given: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return the settings under the names that they have now."""
    for new, old in entry.renamed.items():
        if {new, old} <= given.keys():
            raise UserError(f"strategy {text!r}: {old} is what {new} was called before, and both are set")
    names = {old: new for new, old in entry.renamed.items()}
    return {names.get(key, key): value for key, value in given.items()}


def read_value(text: str) -> Any:
    """Return what the text of a setting stands for; UserError where it is no YAML."""
    try:
        value = load_yaml(text)
    except ValueError as error:
        raise UserError(f"{text!r} is not a value of a setting") from error
    if value == text.strip():  # and not in quotes
        with contextlib.suppress(ValueError):
            return float(value)  # YAML 1.1 takes 1e3 for text
    return value


def _resolve(entry: StrategyEntry, given: Mapping[str, Any], text: str) -> dict[str, Any]:
    parameters = {k: p for k, p in entry.parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    for key in given:
        if key not in parameters:
            raise UserError(f"strategy {text!r}: {unknown_name_error('setting', key, parameters)}")
    settings = {}
    for name, parameter in parameters.items():
        if name not in given and parameter.default is parameter.empty:
            raise UserError(f"strategy {text!r} needs the setting {name!r}")
        value = given.get(name, parameter.default)
        settings[name] = _checked(parameter, value, text) if name in given else value
    return settings


def _checked(parameter: inspect.Parameter, value: Any, text: str) -> Any:
    if parameter.annotation is parameter.empty:
        return value
    try:
        adapter = TypeAdapter(parameter.annotation, config=ConfigDict(arbitrary_types_allowed=True))
        return adapter.validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise UserError(f"strategy {text!r}: setting {parameter.name} = {value!r}: {reason}") from error
    except PydanticUserError as error:  # a class that is no plain value, or known by its name alone
        raise UserError(f"strategy {text!r}: setting {parameter.name} takes an object, which no text can be") from error


def _dotted(path: str) -> StrategyEntry:
    from avalanche.core import BasePlugin

    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise UserError(f"strategy {path}: cannot import {module}: {error}") from error
    if found is None:
        raise unknown_name_error("plug-in", name, _plugins_of(module))
    # An experiment may come from anyone: any other class could be made to do anything by its arguments.
    if not (inspect.isclass(found) and issubclass(found, BasePlugin)):
        raise UserError(f"strategy {path} is not one of Avalanche's plug-ins, nor made from one")
    if reason := refusal(found):
        raise UserError(f"strategy {path} cannot be used here: {reason}")
    return StrategyEntry(path, plugin_builder(found), summary=f"{name} of {module}")


def _plugins_of(module: str) -> list[str]:
    """Return the names of a module's plug-ins that can be used here."""
    from avalanche.core import BasePlugin

    found = vars(importlib.import_module(module)).items()
    return [n for n, one in found if inspect.isclass(one) and issubclass(one, BasePlugin) and not refusal(one)]


def plugin_builder(plugin: type) -> Callable[..., list[Any]]:
    """Return what builds a strategy of the plug-in class alone, whose arguments are the settings."""
    built = adapted(plugin)

    def build(**settings: Any) -> list[Any]:
        if wrong := wrong_setting(plugin, settings):
            raise ValueError(wrong)
        return [built(**settings)]

    build.__signature__ = inspect.signature(plugin)  # type: ignore[attr-defined] # the class's settings are ours
    build.__wrapped__ = plugin  # type: ignore[attr-defined] # and so is the file that defines it
    return build
