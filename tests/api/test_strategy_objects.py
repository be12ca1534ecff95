"""Strategies that are given to `run` as objects: how they are named, keyed and known to workers."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import EWCPlugin
from conftest import message

from cl_bench.api.strategies import as_texts, is_of_this_process
from cl_bench.config.sweeps import spread
from cl_bench.plugins.composition import parse
from cl_bench.plugins.entry import StrategyEntry
from cl_bench.plugins.registry import strategies

pytestmark = pytest.mark.usefixtures("declared_here_alone")


class Forgetful(SupervisedPlugin):
    def __init__(self, weight: float) -> None:
        super().__init__()
        self._hidden = weight


class Keeping(SupervisedPlugin):
    """Does nothing, and keeps its argument."""

    acts_from = 2

    def __init__(self, value: Any = "mean") -> None:
        super().__init__()
        self.value = value


def nothing() -> list[Any]:
    """Do nothing."""
    return []


def test_strategies_in_their_forms() -> None:
    assert as_texts("naive,kd[weight=2]+replay") == ["naive", "kd[weight=2]+replay"]
    assert as_texts(Keeping) == ["Keeping"]
    assert as_texts(["naive", Keeping(), Keeping(value=2.5), nothing]) == [
        "naive",
        "Keeping",
        "Keeping[value=2.5]",
        "nothing",
    ]
    (term,) = parse("Keeping[value=2.5]").terms
    (plugin,) = term.build()
    assert plugin.value == 2.5
    assert plugin is not term.build()[0], "every stage has its own"
    assert len(term.code()[0]) == 64
    assert parse("kd+Keeping").terms[1].entry.summary == "Does nothing, and keeps its argument."
    assert is_of_this_process("kd+Keeping")
    assert not is_of_this_process("kd[weight=2]+replay")
    ewc = "avalanche.training.plugins.ewc.EWCPlugin"
    (text,) = as_texts([EWCPlugin(ewc_lambda=0.5)])
    assert text.startswith(f"{ewc}[ewc_lambda=0.5")
    assert parse(text).terms[0].settings["ewc_lambda"] == 0.5


@pytest.mark.parametrize(
    "value", ["sum", "yes", "7", "1e3", "", "null", "nan", "[1]", "a: b", "ü", None, True, 7, 1e-5]
)
def test_an_argument_is_read_back_as_it_is(value: Any) -> None:
    (text,) = as_texts([Keeping(value)])
    (strategy,) = spread(text)
    read = parse(strategy).terms[0].settings["value"]
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize("value", ["a,b", "a]+b"])
def test_an_argument_that_settings_cannot_hold_is_refused(value: str) -> None:
    assert "strategy Keeping: its arguments cannot be written as settings" in message(as_texts, [Keeping(value)])


class Switched(SupervisedPlugin):
    def __init__(self, on: bool = False) -> None:
        super().__init__()
        self.on = on


def test_an_argument_that_is_read_as_another_is_refused() -> None:
    found = message(as_texts, [Switched("yes")])  # type: ignore[arg-type]
    assert "strategy Switched: its argument on='yes' cannot be written as a setting, which is read as True" in found


def test_strategies_of_an_installed_package_are_known_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def theirs() -> list[Any]:
        return []

    theirs.__module__ = "somebodys.strategies"
    strategies.load()
    strategies.add("theirs", StrategyEntry("theirs", theirs))
    assert is_of_this_process("kd+theirs")
    points = [EntryPoint("theirs", "somebodys", strategies.group)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    assert not is_of_this_process("kd+theirs")


def test_strategies_that_cannot_be_keyed() -> None:
    assert "needs a name of letters, digits, '_' and '-', which '<lambda>' is not" in message(as_texts, [lambda: []])
    assert "argument 'weight' cannot be read from the object" in message(as_texts, [Forgetful(1.0)])
    assert "a strategy is a name, a function" in message(as_texts, [3])
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def nowhere(): return []", space)
    assert "the source of nowhere cannot be found" in message(as_texts, [space["nowhere"]])


def typed(monkeypatch: pytest.MonkeyPatch, source: str, number: int) -> Any:
    """Return what a cell of a notebook defines."""
    import linecache

    name, space = f"/tmp/ipykernel_1/{number}.py", {"__name__": "__main__"}
    monkeypatch.setitem(linecache.cache, name, (len(source), None, source.splitlines(keepends=True), name))
    exec(compile(source, name, "exec"), space)
    return space["Typed"]


def test_a_cell_of_a_notebook_is_keyed_by_its_text_and_may_be_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = (
        "from avalanche.core import SupervisedPlugin\n"
        "class Typed(SupervisedPlugin):\n"
        "    acts_from = {}\n"
        "    def before_training_exp(self, strategy, **_): pass\n"
    )
    codes = []
    for number, acts_from in enumerate((1, 1, 2)):
        assert as_texts([typed(monkeypatch, cell.format(acts_from), number)]) == ["Typed"]
        codes.append(parse("Typed").terms[0].code())
        assert parse("Typed").terms[0].acts_from == acts_from
    assert codes[0] == codes[1] != codes[2]
