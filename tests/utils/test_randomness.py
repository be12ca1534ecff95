"""Random streams: each of its own, none moved by another."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from cl_bench.utils.randomness import derive, isolated, permutation, seed_all


def draws() -> tuple[float, float, float]:
    return torch.rand(()).item(), np.random.random(), random.random()  # noqa: NPY002 - global state is what is tested


def test_derive_depends_on_all_its_parts_and_where_they_end() -> None:
    parts: list[tuple[str | int, ...]] = [(0,), (1,), ("0",), (0, "a"), ("a", 0), (0, "a", "b"), (0, "ab"), (0, "a,b")]
    assert len({derive(*part) for part in parts}) == len(parts)
    assert derive(0, "a") == derive(0, "a")
    assert all(0 <= derive(*part) < 2**63 for part in parts)


def test_derive_is_the_same_in_another_process() -> None:
    code = "from cl_bench.utils.randomness import derive, permutation; print(derive(7, 'é'), permutation(5, 7))"
    options = {"capture_output": True, "text": True, "check": True, "env": {"PYTHONHASHSEED": "5", "PYTHONUTF8": "1"}}
    found = subprocess.run([sys.executable, "-c", code], **options).stdout.split(maxsplit=1)  # type: ignore[call-overload]
    assert int(found[0]) == derive(7, "é")
    assert found[1].strip() == str(permutation(5, 7))


def test_derive_has_a_fixed_value() -> None:
    """Else results could not be compared across versions."""
    assert derive(0, "order", "seg", 0, 0) == 2920781723087828281


def test_permutations_are_whole_and_of_their_own() -> None:
    assert sorted(permutation(100, 0, "a")) == list(range(100))
    assert permutation(100, 0, "a") == permutation(100, 0, "a")
    assert permutation(100, 0, "a") != permutation(100, 0, "b")
    assert permutation(0, 0) == []


def test_parity_of_derived_seeds_is_fair() -> None:
    """Flips are decided by it."""
    odd = sum(derive(0, "flip", str(i)) % 2 for i in range(2000))
    assert 900 < odd < 1100


def test_seed_all_seeds_all_three_generators() -> None:
    with isolated():
        seed_all(derive("large seeds too"))
        first = draws()
        assert draws() != first
        seed_all(derive("large seeds too"))
        assert draws() == first


def test_isolated_leaves_the_generators_as_they_were() -> None:
    with isolated(3):
        expected = draws()
    with isolated(3):
        with isolated():
            draws()
        with isolated(4):
            inner = draws()
        assert draws() == expected
        assert inner != expected


def test_isolated_starts_from_its_seed_whatever_was_drawn_before() -> None:
    found = []
    for _ in range(2):
        draws()
        with isolated(5):
            found.append(draws())
    assert found[0] == found[1]


def fail_inside() -> None:
    with isolated(9):
        draws()
        raise RuntimeError("inside")


def test_isolated_restores_after_an_exception() -> None:
    with isolated(3):
        expected = draws()
    with isolated(3):
        with pytest.raises(RuntimeError, match="inside"):
            fail_inside()
        assert draws() == expected
