"""Texts that people type, taken apart."""

from __future__ import annotations

import pytest

from cl_bench.errors import UserError
from cl_bench.utils.parsing import split_choice, split_list, without_blanks


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
