"""Orders of tasks as text: named ones, all permutations, a sample of them, or the tasks again and again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations
from math import factorial

from cl_bench.errors import UserError


def parse_orders(text: str, tasks: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the orders in `text`.

    Comma-separated orders such as `seg>det>cls` (or `seg-det-cls`), in which a task may come back; `all` permutations
    of the tasks; `sample:N` of them, the same N each time; `cycle:N`, the tasks as listed, N times over. Raises
    UserError where a number is not one, or beyond the permutations there are.
    """
    word, sign, number = text.partition(":")
    if text == "all":
        return tuple(permutations(tasks))
    if not sign:
        return tuple(_order(order, tasks) for order in text.split(","))
    if word not in ("sample", "cycle") or not number.isdecimal() or int(number) < 1:
        raise UserError(f"orders {text!r} is none of all, sample:N, cycle:N or orders such as {'>'.join(tasks)}")
    if word == "cycle":
        return (tuple(tasks) * int(number),)
    if int(number) > factorial(len(tasks)):
        raise UserError(f"orders {text!r}: {len(tasks)} tasks have {factorial(len(tasks))} orders")
    return _sample(tasks, int(number))


def _sample(tasks: Sequence[str], count: int) -> tuple[tuple[str, ...], ...]:
    draw = random.Random(count)
    found: dict[tuple[str, ...], None] = {}
    while len(found) < count:
        found[tuple(draw.sample(list(tasks), len(tasks)))] = None
    return tuple(found)


def _order(text: str, tasks: Sequence[str]) -> tuple[str, ...]:
    # A task's name may hold "-": where ">" separates, or the whole is one name, it is no separator.
    return (text,) if text in tasks else tuple(text.split(">" if ">" in text else "-"))
