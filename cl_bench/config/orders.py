"""Orders of tasks as text: named ones, all permutations, a sample of them, or the tasks again and again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations
from math import factorial
from typing import Any

from cl_bench.errors import UserError


def parse_orders(text: str, tasks: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the orders in `text`.

    Comma-separated orders such as `seg>det>cls` (or `seg-det-cls`), in which a task may come back; `all` permutations
    of the tasks; `sample:N` of them, the same N each time; `cycle:N`, the tasks as listed, N times over. Raises
    UserError where a number is not one, or beyond the permutations there are, and for several orders of one task each,
    as commas that were meant to separate the tasks of one order make them.
    """
    word, sign, number = text.partition(":")
    if text == "all":
        return tuple(permutations(tasks))
    if not sign:
        orders = tuple(_order(order.strip(), tasks) for order in text.split(","))
        _refuse_single_tasks(text, orders, tasks)
        return orders
    if word not in ("sample", "cycle") or not number.isdecimal() or int(number) < 1:
        raise UserError(f"orders {text!r} is none of all, sample:N, cycle:N or orders such as {'>'.join(tasks)}")
    if word == "cycle":
        return (tuple(tasks) * int(number),)
    if int(number) > factorial(len(tasks)):
        raise UserError(f"orders {text!r}: {len(tasks)} tasks have {factorial(len(tasks))} orders")
    return _sample(tasks, int(number))


def spelled_out(orders: Any, tasks: Sequence[str]) -> Any:
    """Return `orders` with what of them is text read by `parse_orders`: all as one text, or a list of a text each."""
    if isinstance(orders, (list, tuple)) and orders and all(isinstance(order, str) for order in orders):
        orders = ",".join(orders)
    return parse_orders(orders, tasks) if isinstance(orders, str) else orders


def _refuse_single_tasks(text: str, orders: Sequence[tuple[str, ...]], tasks: Sequence[str]) -> None:
    """Raise UserError where one order seems to be meant, with commas or blanks between its tasks."""
    names = text.split() if len(orders) == 1 else [order[0] for order in orders if len(order) == 1]
    if len(names) > 1 and len(names) >= len(orders) and set(names) <= set(tasks):
        order = (">" if any("-" in name for name in names) else "-").join(names)
        meant = f"did you mean one order of them, {order}?"
        if len(orders) == 1:
            raise UserError(f"orders {text!r} has blanks between its tasks; {meant}")
        raise UserError(
            f"orders {text!r} are {len(orders)} orders of one task each; {meant}"
            " (each task is trained alone in any case, as its baseline)"
        )


def _sample(tasks: Sequence[str], count: int) -> tuple[tuple[str, ...], ...]:
    draw = random.Random(count)
    found: dict[tuple[str, ...], None] = {}
    while len(found) < count:
        found[tuple(draw.sample(list(tasks), len(tasks)))] = None
    return tuple(found)


def _order(text: str, tasks: Sequence[str]) -> tuple[str, ...]:
    # A task's name may hold "-": where ">" separates, or the whole is one name, it is no separator.
    if text in tasks:
        return (text,)
    return tuple(name.strip() for name in text.split(">" if ">" in text else "-"))
