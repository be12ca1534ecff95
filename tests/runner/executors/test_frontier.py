"""The order in which chains of a plan are handed out."""

from __future__ import annotations

from cl_bench.results.store.failures import Failure
from cl_bench.runner.executors.frontier import Frontier

CHAINS = [("a",), ("b",), ("a1",), ("a2", "a3"), ("a11",), ("b1",)]
PARENTS = {"a": "", "b": "", "a1": "a", "a2": "a", "a3": "a2", "a11": "a1", "b1": "b"}
WHY = Failure("raised", "boom")


def frontier(done: str = "", kept: dict[str, Failure] | None = None) -> Frontier:
    parents = {key: above.split() for key, above in PARENTS.items()}
    stored = done.split().__contains__
    return Frontier(CHAINS, parents, stored, kept or {}, stored)


def taken(found: Frontier) -> list[tuple[str, ...]]:
    chains = []
    while chain := found.take():
        chains.append(chain)
    return chains


def test_only_what_has_its_parent_is_handed_out() -> None:
    found = frontier()
    assert taken(found) == [("a",), ("b",)]
    found.done(("a",))
    assert taken(found) == [("a1",), ("a2", "a3")]
    assert len(found) == 5


def test_a_run_is_finished_before_the_next_is_begun() -> None:
    found = frontier()
    order = []
    while len(found):
        chain = found.take()
        assert chain is not None
        order.append(chain[0])
        found.done(chain)
    assert order == ["a", "a1", "a11", "a2", "b", "b1"]


def test_what_is_stored_is_not_handed_out_and_its_children_are() -> None:
    assert taken(frontier("a b")) == [("a1",), ("a2", "a3"), ("b1",)]
    assert taken(frontier("a a2")) == [("b",), ("a1",), ("a2", "a3")], "a chain of which a part is missing"
    assert len(frontier("a b a1 a2 a3 a11 b1")) == 0


def test_a_stage_waits_for_the_nearest_ancestor_that_is_missing() -> None:
    found = frontier("a1 b b1")
    assert taken(found) == [("a",)], "a11 may read what a left, though its parent a1 is there"
    found.done(("a",))
    assert taken(found) == [("a2", "a3"), ("a11",)]


def test_descendants_of_a_failure_are_skipped_and_the_rest_goes_on() -> None:
    found = frontier()
    taken(found)
    assert found.failed(("a",), WHY) == ["a", "a1", "a11", "a2", "a3"]
    assert found.failures["a"] == WHY
    assert {found.failures[key].kind for key in ("a1", "a11", "a2", "a3")} == {"skipped"}
    assert len(found) == 2
    found.done(("b",))
    assert taken(found) == [("b1",)]


def test_kept_failures_are_not_tried_again() -> None:
    found = frontier("a", {"a1": WHY, "b": WHY})
    assert taken(found) == [("a2", "a3")]
    assert found.failures["b1"].kind == "skipped"
    assert found.failures["a11"].kind == "skipped"


def test_a_unit_that_another_process_is_at_is_asked_for_later() -> None:
    found = frontier()
    chain = found.take()
    assert chain == ("a",)
    found.give_back(chain)
    assert taken(found) == [("b",), ("a",)]
    assert len(found) == len(CHAINS)


def test_a_stage_waits_for_all_that_it_reads() -> None:
    found = Frontier(
        [("a",), ("b",), ("ab",)], {"a": [], "b": [], "ab": ["a", "b"]}, lambda _: False, {}, lambda _: False
    )
    assert taken(found) == [("a",), ("b",)]
    found.done(("b",))
    assert taken(found) == []
    found.done(("a",))
    assert taken(found) == [("ab",)]


def test_a_stage_is_skipped_once_whichever_of_its_parents_fail() -> None:
    found = Frontier(
        [("a",), ("b",), ("ab",)], {"a": [], "b": [], "ab": ["a", "b"]}, lambda _: False, {}, lambda _: False
    )
    taken(found)
    assert found.failed(("a",), WHY) == ["a", "ab"]
    assert found.failed(("b",), WHY) == ["b"]
    assert len(found) == 0


def test_what_a_chain_stored_before_it_failed_is_no_failure() -> None:
    stored = {"a", "b"}
    parents = {key: above.split() for key, above in PARENTS.items()}
    found = Frontier(CHAINS, parents, stored.__contains__, {}, stored.__contains__)
    taken(found)
    stored.add("a2")
    assert found.failed(("a2", "a3"), WHY) == ["a3"]
    assert found.failures == {"a3": WHY}


def test_a_chain_is_not_blamed_for_another_that_shares_its_beginning() -> None:
    chains, parents = [("a", "x"), ("a", "y")], {"a": [], "x": ["a"], "y": ["a"]}
    found = Frontier(chains, parents, {"a"}.__contains__, {"a": WHY, "x": WHY}, {"a"}.__contains__)
    assert found.failures == {"x": WHY}
    assert taken(found) == [("a", "y")]


def test_what_is_trained_and_fails_afterwards_is_told_and_skips_nothing() -> None:
    parents = {key: above.split() for key, above in PARENTS.items()}
    found = Frontier(CHAINS, parents, ["b", "b1"].__contains__, {}, {"a", "b", "b1"}.__contains__)
    assert found.take() == ("a",)
    assert found.failed(("a",), WHY) == ["a"]
    assert taken(found) == [("a1",), ("a2", "a3")]
    assert found.failed(("a1",), WHY) == ["a1", "a11"]
    assert found.failures["a"] == WHY


def test_what_is_stored_is_scored_though_it_diverged_in_an_earlier_run() -> None:
    parents = {key: above.split() for key, above in PARENTS.items()}
    found = Frontier(CHAINS, parents, ["b", "b1"].__contains__, {"a": WHY, "a1": WHY}, {"a", "b", "b1"}.__contains__)
    assert found.failures.keys() == {"a1", "a11"}
    assert taken(found) == [("a",)]
