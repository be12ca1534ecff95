"""Strategies as written: names, settings with their types, and Avalanche's own plug-ins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import EWCPlugin, MASPlugin

from cl_bench.errors import UserError
from cl_bench.plugins.composition import former_settings, parse
from cl_bench.plugins.registry import strategies, strategy
from cl_bench.utils.parsing import split_list

EWC = "avalanche.training.plugins.EWCPlugin"


class _Late(SupervisedPlugin):
    acts_from = 3


@pytest.fixture(autouse=True)
def _declared() -> Iterator[None]:
    """Strategies of these tests, gone afterwards."""
    list(strategies)
    before = dict(strategies.entries)

    @strategy("lists")
    def lists(layers: list[list[int]], share: float = 0.5, names: tuple[str, ...] = ()) -> list[Any]:
        return []

    @strategy("late")
    def late() -> list[Any]:
        return [_Late()]

    @strategy("grown", added={"labels": 1.0})
    def grown(weight: float = 5.0, labels: float = 1.0) -> list[Any]:
        return []

    @strategy("renewed", added={"strength": 1.0}, renamed={"strength": "labels"})
    def renewed(weight: float = 5.0, strength: float = 1.0) -> list[Any]:
        return []

    @strategy("picky")
    def picky(value: int = 1) -> list[Any]:
        if value < 0:
            raise ValueError("value must not be negative")
        return []

    yield
    strategies.entries.clear()
    strategies.entries.update(before)


def test_a_setting_that_is_said_to_be_added_is_one() -> None:
    with pytest.raises(UserError, match="unknown added setting of strategy 'misspelt' 'lables'; did you mean 'labels'"):

        @strategy("misspelt", added={"lables": 1.0})
        def misspelt(labels: float = 1.0) -> list[Any]:
            return []

    assert "misspelt" not in strategies.entries


def test_a_renamed_setting_goes_on_working_and_is_in_keys_as_before() -> None:
    before, now = parse("renewed[labels=0.0]"), parse("renewed[strength=0.0]")
    assert before.text == "renewed[labels=0.0]"
    assert before.terms[0].settings == now.terms[0].settings == {"weight": 5.0, "strength": 0.0}
    assert now.terms[0].identity()["settings"] == parse("grown[labels=0.0]").terms[0].identity()["settings"]
    assert before.terms[0].identity() == now.terms[0].identity()
    assert "labels" not in parse("renewed").terms[0].identity()["settings"]
    expected = "strategy 'kd+renewed[labels=0.0]': labels is called strength now"
    assert former_settings("kd+renewed[labels=0.0]") == [expected]
    assert former_settings("kd[weight=1]+renewed[strength=0.0]") == []
    with pytest.raises(UserError, match="labels is what strength was called before, and both are set"):
        parse("renewed[labels=0.0,strength=0.0]")


def test_the_former_spelling_of_consolidate_has_the_same_keys() -> None:
    (before,), (now,) = (parse(f"consolidate[{name}=0.0]").terms for name in ("labels", "label_weight"))
    assert before.identity() == now.identity()
    assert now.identity()["settings"]["labels"] == 0.0


def settings(text: str) -> dict[str, Any]:
    (term,) = parse(text).terms
    return dict(term.settings)


def test_a_plain_name_has_all_its_defaults() -> None:
    assert settings("kd") == {"weight": 0.3, "temperature": 2.0, "direction": "teacher_student"}
    assert settings("naive") == {}
    assert settings("kd[]") == settings("kd")


def test_terms_and_several_settings() -> None:
    found = parse("kd[temperature=4, direction=student_teacher] + replay[memory=20]")
    assert [term.name for term in found.terms] == ["kd", "replay"]
    assert found.terms[0].settings == {"weight": 0.3, "temperature": 4.0, "direction": "student_teacher"}
    assert found.terms[1].settings == {"memory": 20, "weight": 1.0}
    assert found.text == "kd[temperature=4,direction=student_teacher]+replay[memory=20]"
    assert isinstance(found.terms[0].settings["temperature"], float)


def test_lists() -> None:
    found = settings("lists[layers=[], share=1e-2, names=[a, b]]")
    assert found == {"layers": [], "share": 0.01, "names": ("a", "b")}


@pytest.mark.parametrize("before", ["", "share=1,"])
def test_lists_in_lists(before: str) -> None:
    assert settings(f"lists[{before}layers=[[1,2],[3]]]")["layers"] == [[1, 2], [3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kdd", "unknown strategy 'kdd'; did you mean 'kd'?"),
        ("kd[temprature=4]", "unknown setting 'temprature'; did you mean 'temperature'?"),
        ("naive[x=1]", "unknown setting 'x'; known: none"),
        ("lists", "strategy 'lists' needs the setting 'layers'"),
        ("kd[temperature=hot]", "setting temperature = 'hot': Input should be a valid number"),
        ("replay[memory=2.5]", "setting memory = 2.5: Input should be a valid integer"),
        ("kd[direction=sideways]", "'teacher_student' or 'student_teacher'"),
        ("lists[layers=3]", "setting layers = 3: Input should be a valid list"),
        ("kd[temperature]", "'temperature' is not setting=value"),
        ("kd[temperature={]", "'{' is not a value"),
        ("", "is not understood"),
        ("kd+", "is not understood"),
        ("kd++replay", "is not understood"),
        ("kd replay", "is not understood"),
        ("kd[temperature=4", "is not understood"),
        ("no.such.module.Plugin", "cannot import no.such.module"),
        ("avalanche.training.plugins.EWCPlugn", "unknown plug-in 'EWCPlugn'; did you mean 'EWCPlugin'?"),
        ("avalanche.training.plugins.ewc", "is not one of Avalanche's plug-ins"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_avalanche_plugin_by_its_dotted_path() -> None:
    found = parse(f"{EWC}[ewc_lambda=0.4, mode=online, decay_factor=0.9]")
    (term,) = found.terms
    assert term.settings == {
        "ewc_lambda": 0.4,
        "mode": "online",
        "decay_factor": 0.9,
        "keep_importance_data": False,
    }
    (plugin,) = term.build()
    assert isinstance(plugin, EWCPlugin)
    assert plugin.ewc_lambda == 0.4
    assert term.build()[0] is not plugin, "each run has plug-ins of its own"
    assert (term.acts_from, found.chained, found.together) == (1, True, False)
    with pytest.raises(UserError, match="needs the setting 'ewc_lambda'"):
        parse(EWC)


def test_a_number_without_a_point_is_a_number_where_nothing_says_its_type() -> None:
    assert settings(f"{EWC}[ewc_lambda=1e3]")["ewc_lambda"] == 1000.0


def test_a_dotted_plugin_is_identified_by_its_own_code() -> None:
    mas, replay = (parse(f"avalanche.training.plugins.{name}").terms[0] for name in ("MASPlugin", "ReplayPlugin"))
    assert isinstance(mas.build()[0], MASPlugin)
    assert len(replay.code()) == 1
    assert len(mas.code()) == 2, "of what is adapted, too"
    assert not set(mas.code()) & set(replay.code())
    assert parse("kd").terms[0].identity() == {"name": "kd", "settings": settings("kd"), "code": []}


def test_a_setting_that_came_later_is_part_of_the_key_where_it_changes_something() -> None:
    before = {"weight": 5.0}
    assert parse("grown").terms[0].identity()["settings"] == before
    assert parse("grown[labels=1]").terms[0].identity()["settings"] == before
    assert parse("grown[labels=0]").terms[0].identity()["settings"] == {**before, "labels": 0.0}
    assert settings("grown") == {**before, "labels": 1.0}


def test_settings_that_the_strategy_itself_refuses() -> None:
    with pytest.raises(UserError, match="picky does not accept its settings: value must not be negative"):
        parse("picky[value=-1]").terms[0].build()


def test_settings_that_an_avalanche_plugin_refuses() -> None:
    with pytest.raises(UserError, match="does not accept its settings: Mode must be separate or online"):
        parse(f"{EWC}[ewc_lambda=1,mode=sideways]")


@pytest.mark.parametrize(
    ("text", "acting", "chained"),
    [
        ("naive", [[], [], []], False),
        ("kd", [[], ["kd"], ["kd"]], False),
        ("kd+late", [[], ["kd"], ["kd", "late"]], False),
        (f"kd+{EWC}[ewc_lambda=1]", [[EWC], ["kd", EWC], ["kd", EWC]], True),
        ("joint", [[], [], []], False),
    ],
)
def test_which_terms_act_in_which_stage(text: str, acting: list[list[str]], chained: bool) -> None:
    found = parse(text)
    assert [[term.name for term in found.acting(stage)] for stage in range(3)] == acting
    assert found.chained == chained
    assert found.together == (text == "joint")


def test_commas_inside_brackets_do_not_split() -> None:
    assert split_list("naive, kd[temperature=4,weight=2],kd+replay") == [
        "naive",
        "kd[temperature=4,weight=2]",
        "kd+replay",
    ]
    assert split_list("lists[layers=[1,2]],naive") == ["lists[layers=[1,2]]", "naive"]
    assert split_list(" , naive ,") == ["naive"]
    assert split_list("") == []


@pytest.mark.parametrize("text", ["lists[share=1,layers=[2,3]]", "lists[layers=[1,2],names=[a,b]]"])
def test_commas_before_a_nested_bracket_do_not_split_either(text: str) -> None:
    assert split_list(f"{text},naive") == [text, "naive"]
