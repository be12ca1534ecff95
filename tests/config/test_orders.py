"""Orders written as text."""

import pytest

from cl_bench.config.orders import parse_orders
from cl_bench.config.schema import validate
from cl_bench.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a>b>c", (("a", "b", "c"),)),
        ("c-b", (("c", "b"),)),
        ("a>b,b>a", (("a", "b"), ("b", "a"))),
        ("b", (("b",),)),
        ("my-task", (("my-task",),)),
    ],
)
def test_orders_as_text(text: str, expected: tuple[tuple[str, ...], ...]) -> None:
    assert parse_orders(text, ("a", "b", "c", "my-task")) == expected


def test_all_orders() -> None:
    found = parse_orders("all", ("a", "b", "c"))
    assert len(found) == len(set(found)) == 6
    assert all(sorted(order) == ["a", "b", "c"] for order in found)


def test_an_order_of_names_with_hyphens() -> None:
    assert parse_orders("my-task>a", ("a", "my-task")) == (("my-task", "a"),)


def test_a_sample_holds_different_orders_and_is_the_same_each_time() -> None:
    tasks = tuple("abcdefghij")
    found = parse_orders("sample:5", tasks)
    assert len(set(found)) == 5
    assert all(sorted(order) == list(tasks) for order in found)
    assert found == parse_orders("sample:5", tasks)
    assert set(parse_orders("sample:6", ("a", "b", "c"))) == set(parse_orders("all", ("a", "b", "c")))


def test_a_cycle_brings_every_task_back() -> None:
    assert parse_orders("cycle:2", ("a", "b")) == (("a", "b", "a", "b"),)


@pytest.mark.parametrize("text", ["sample:0", "cycle:x", "random:3", "sample:-1"])
def test_what_is_no_order_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"orders '{text}' is none of all, sample:N, cycle:N"):
        parse_orders(text, ("a", "b"))


def test_more_orders_than_there_are_cannot_be_sampled() -> None:
    with pytest.raises(UserError, match="2 tasks have 2 orders"):
        parse_orders("sample:3", ("a", "b"))


def test_an_experiment_may_write_its_orders_as_text() -> None:
    tasks = [{"name": name, "kind": "classification", "data": {"format": "scenes"}} for name in "ab"]
    found = validate({"name": "x", "tasks": tasks, "orders": "cycle:2"}, "x")
    assert found.orders == (("a", "b", "a", "b"),)
    with pytest.raises(UserError, match="orders 'cycle:0'"):
        validate({"name": "x", "tasks": tasks, "orders": "cycle:0"}, "x")
