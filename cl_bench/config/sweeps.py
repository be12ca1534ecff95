"""Lists of values in place of one: strategies and experiments spread out to a grid."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple, get_origin

from cl_bench.errors import UserError
from cl_bench.plugins.composition import parse_term, term_entry
from cl_bench.utils.parsing import split, split_list, without_blanks

_LISTS = (list, tuple, Sequence)


class SweepPoint(NamedTuple):
    """One combination of a sweep's values.

    name: what is put behind the experiment's name; changes: `key=value`, as `--set` takes them.
    """

    name: str
    changes: list[str]


def spread(strategy: str) -> list[str]:
    """Return the strategies that one with lists for settings stands for: `kd[weight=[1,2]]` for two of kd.

    They are without blanks, so that one strategy is one text. A setting that itself takes a list is left as it is.
    """
    terms = [_spread_term(term, strategy) for term in split(strategy, "+")]
    return [without_blanks("+".join(combination)) for combination in product(*terms)]


def _spread_term(text: str, strategy: str) -> list[str]:
    name, settings = parse_term(text, strategy)
    pairs = [pair.partition("=") for pair in split_list(settings)]
    if not any(value.strip().startswith("[") for _, _, value in pairs):
        return [text]
    parameters = term_entry(name).parameters
    choices = []
    for key, sign, value in pairs:
        takes_list = key.strip() in parameters and get_origin(parameters[key.strip()].annotation) in _LISTS
        spreads = value.strip().startswith("[") and not takes_list
        values = split_list(value.strip().removeprefix("[").removesuffix("]")) if spreads else [value]
        if not values:
            raise UserError(f"strategy {strategy!r}: {key.strip()} has no value")
        choices.append([f"{key.strip()}{sign}{one.strip()}" for one in values])
    return [f"{name}[{','.join(combination)}]" for combination in product(*choices)]


def points(sweeps: Sequence[str], known: Mapping[str, Sequence[str]] | None = None) -> list[SweepPoint]:
    """Return every combination of what `sweeps` name, each a dotted key and values: `tasks.det.epochs=12,24`.

    known: keys with their values, in front of these. Raises UserError for a text that is none, a key that comes twice,
    or points of one name.
    """
    axes = [[(key, value) for value in values] for key, values in (known or {}).items()]
    for text in sweeps:
        key, sign, values = text.partition("=")
        found = split_list(values)
        if not sign or not key.strip() or not found:
            raise UserError(f"--sweep takes KEY=VALUE,VALUE, not {text!r}")
        axes.append([(key.strip(), value) for value in found])
    keys = [axis[0][0] for axis in axes]
    if len(set(keys)) < len(keys):
        raise UserError(f"a sweep names a key twice: {', '.join(keys)}")
    grid = [
        SweepPoint(
            "".join(f"-{_word(k.removeprefix('tasks.'))}_{_word(v)}" for k, v in pairs), [f"{k}={v}" for k, v in pairs]
        )
        for pairs in product(*axes)
    ]
    if len({point.name for point in grid}) < len(grid):
        names = [point.name for point in grid]
        raise UserError(f"two combinations of a sweep have one name, {max(names, key=names.count)}")
    return grid


def _word(text: str) -> str:
    with contextlib.suppress(ValueError):
        text = f"{float(text):g}".replace("-", "minus ")  # 5e-4 and 0.0005 are one value, and have one name
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
