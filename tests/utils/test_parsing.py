"""Texts that people type, taken apart."""

from __future__ import annotations

import pytest

from cl_bench.errors import UserError
from cl_bench.utils.parsing import spelled, split_choice, split_list, without_blanks


def test_commas_inside_brackets_belong_to_what_they_enclose() -> None:
    assert split_list("kd[weight=[1,2],t=3]+replay, naive,") == ["kd[weight=[1,2],t=3]+replay", "naive"]


def test_an_empty_choice_is_all_and_a_choice_of_nothing_is_refused() -> None:
    assert split_choice("", "--strategies") == split_choice(" ", "--strategies") == []
    assert split_choice("a, b", "--strategies") == ["a", "b"]
    for text in (",", " , ,"):
        with pytest.raises(UserError, match=r"--strategies '.*': nothing is in it"):
            split_choice(text, "--strategies")


@pytest.mark.parametrize(
    ("text", "expected"),
    [(" a [b = 1] ", "a[b=1]"), ("a[s='x y', t = 2]", "a[s='x y',t=2]"), ('a[s="x \'y"]', 'a[s="x \'y"]'), ("", "")],
)
def test_blanks_go_where_nothing_quotes_them(text: str, expected: str) -> None:
    assert without_blanks(text) == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("kd[weight=1.0]", "kd[weight=1]"),
        ("kd[weight = 1]", "kd[weight=1]"),
        ("kd[weight=10]", "kd[weight=10]"),
        ("er[memory=1e1,choose=reservoir]", "er[memory=10,choose=reservoir]"),
        ("replay", "replay"),
        ("si[weight=.10]+replay", "si[weight=0.1]+replay"),
    ],
)
def test_a_strategy_is_found_however_its_numbers_are_written(text: str, found: str) -> None:
    known = {"kd[weight=1]", "er[memory=10,choose=reservoir]", "si[weight=0.1]+replay"}
    assert spelled(text, known) == found
