"""The tables of docs/reference/fidelity.md are what the tests say, and every published name has a row."""

from __future__ import annotations

import re

import pytest
from fidelity import NONE, OWN, PAGE, Row, page, rows

from cl_bench.plugins.composition import parse
from cl_bench.plugins.registry import strategies


@pytest.fixture
def found() -> list[Row]:
    return rows()


def test_the_page_has_the_tables_that_the_tests_give(found: list[Row]) -> None:
    text = PAGE.read_text()
    assert text == page(text, found), "make fidelity writes them anew"


def test_every_strategy_that_names_a_paper_has_a_row(found: list[Row]) -> None:
    published = {name for name in strategies if strategies.get(name).paper and not _from_a_test(name)}
    assert published <= {row.strategy for row in found}


def _from_a_test(name: str) -> bool:
    """Whether a test of the same process declared it."""
    return not strategies.get(name).build.__module__.startswith("cl_bench.")


def test_rows_name_strategies_that_there_are_and_papers_that_these_name(found: list[Row]) -> None:
    for row in found:
        if row.paper:
            parse(row.subject)
            named = re.findall(r"arXiv:([\d.]+)", strategies.get(row.strategy).paper)
            assert row.paper in (*named, OWN, NONE)


def test_a_row_is_one_line_and_no_row_is_there_twice(found: list[Row]) -> None:
    for row in found:
        assert not set("\n") & set(row.formula + row.differs)
        assert "|" not in (row.formula + row.differs).replace("\\|", "")
    assert len({(row.subject, row.paper, row.test) for row in found}) == len(found)
