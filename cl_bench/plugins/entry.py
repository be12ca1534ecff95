"""A strategy as it was declared."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cl_bench.errors import UserError


@dataclass(frozen=True)
class StrategyEntry:
    """A strategy as declared: `build(**settings)` returns a list of Avalanche plugins; its signature: the settings."""

    name: str
    build: Callable[..., Sequence[Any]]
    summary: str = ""
    paper: str = ""
    together: bool = False
    """All tasks of the order in one stage (joint training) instead of one after the other."""
    neutral: dict[str, Any] | None = None
    """Settings at which the strategy must equal naive bit for bit; None where it has none."""
    added: dict[str, Any] = field(default_factory=dict)
    """Settings that it had not always, each with the value at which all is as it was: stages keep their keys there."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Settings with the names they had before, which go on working and are those in stages' keys."""

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The settings: name -> parameter with default and annotation."""
        try:
            return dict(inspect.signature(self.build, eval_str=True, follow_wrapped=False).parameters)
        except (NameError, SyntaxError) as error:
            raise UserError(f"strategy {self.name}: the type of a setting is not known: {error}") from error


def check_name(name: str) -> None:
    """Raise UserError for a name that no list of strategies could hold, and for that of the baselines."""
    if not re.fullmatch(r"[A-Za-z_][\w-]*", name):
        raise UserError(f"a strategy needs a name of letters, digits, '_' and '-', which {name!r} is not")
    if name == "baseline":
        raise UserError("a strategy cannot be called 'baseline', as the tasks' own baselines are")
