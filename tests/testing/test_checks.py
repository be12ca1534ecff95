"""`cl-bench check`: every check finds what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from cl_bench.plugins.plugin_files import load_plugin_files
from cl_bench.plugins.registry import strategies
from cl_bench.testing import check_strategy
from cl_bench.testing.bench import Bench
from cl_bench.testing.checks import check
from cl_bench.testing.template import new_strategy

HEAD = """
import torch
from avalanche.core import SupervisedPlugin
from cl_bench import strategy


class Plugin(SupervisedPlugin):
    acts_from = 2

    def before_backward(self, strategy, **_):
        strategy.loss += 0
"""
TAIL = """

@strategy("{name}", neutral={{"weight": 0.0}})
def build(weight: float = 1.0):
    return [Plugin()]
"""
FAULTS = {
    "hooks": """
    def befor_update(self, strategy, **_):
        pass
""",
    "effect": "",
    "learning": """
    def before_training_exp(self, strategy, **_):
        import copy
        strategy.model = copy.deepcopy(strategy.model)
""",
    "training": """
    def before_update(self, strategy, **_):
        raise ValueError("boom")
""",
    "neutral setting": """
    def before_update(self, strategy, **_):
        for p in strategy.model.backbone.parameters():
            if p.grad is not None:
                p.grad *= 0.5
""",
    "images": """
    def before_training_epoch(self, strategy, **_):
        strategy._sampler.epoch += 7
""",
    "predictors": """
    acts_from = 1
    def after_update(self, strategy, **_):
        with torch.no_grad():
            strategy.model.predictors["cls"].logits.bias.add_(0.1)
""",
    "batch norm": """
    def before_backward(self, strategy, **_):
        strategy.loss += 0 * strategy.model.features(strategy.mb_x)[32].sum()
""",
    "teacher": """
    def before_training_exp(self, strategy, **_):
        self.teacher = strategy.teacher
    def before_backward(self, strategy, **_):
        if self.teacher is not None:
            self.teacher.load_state_dict(strategy.model.state_dict())
""",
    "resume": """
    steps = 0
    def state_dict(self):
        return {}
    def load_state_dict(self, tensors):
        pass
    def before_backward(self, strategy, **_):
        self.steps += bool(strategy.ancestors)
        strategy.loss *= 1 + 0.1 * self.steps
""",
    "memory": """
    def before_training_exp(self, strategy, **_):
        strategy.report["memory"] = {"seg": ["a picture of mine"]}
""",
}
SAID = {
    "hooks": "Plugin.befor_update is no callback and is never called; did you mean before_update?",
    "effect": "every stage has the bits of naive's: the strategy changes nothing",
    "learning": "stage 2 ends with the weights it began with: nothing was learnt",
    "training": "ValueError: boom",
    "predictors": "that of cls moves before cls is learnt",
    "batch norm": "its statistics are updated 2 times a step",
    "memory": "a picture of mine is no training image of seg",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_it_finds(fault: str, bench: Bench, tmp_path: Path) -> None:
    name = "fault_" + fault.replace(" ", "_")
    path = tmp_path / f"{name}.py"
    path.write_text(HEAD + FAULTS[fault] + TAIL.format(name=name))
    try:
        load_plugin_files([path])
        findings = {finding.check: finding for finding in check(name, bench)}
    finally:
        strategies.entries.pop(name, None)
    assert findings[fault].state == "failed", findings
    assert SAID.get(fault, "") in findings[fault].said


def test_a_pass_before_the_steps_own_moves_batch_norm_too(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "fault_early.py"
    fault = """
    def before_training_iteration(self, strategy, **_):
        strategy.model.features(strategy.mb_x)
"""
    path.write_text(HEAD + fault + TAIL.format(name="fault_early"))
    try:
        load_plugin_files([path])
        found = {finding.check: finding for finding in check("fault_early", bench)}["batch norm"]
    finally:
        strategies.entries.pop("fault_early", None)
    assert found.state == "failed"
    assert SAID["batch norm"] in found.said


def test_an_authors_own_test_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "fault_authored.py"
    path.write_text(HEAD + FAULTS["batch norm"] + TAIL.format(name="fault_authored"))
    try:
        with pytest.raises(AssertionError, match=f"batch norm: {SAID['batch norm']}"):
            check_strategy("fault_authored", [path])
    finally:
        strategies.entries.pop("fault_authored", None)


def test_a_loss_on_past_outputs_that_trains_nothing_of_their_predictors_is_noted(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "half_way.py"
    path.write_text(
        HEAD
        + """
    def before_backward(self, strategy, **_):
        for task in strategy.past_tasks:
            (_, features), *_ = strategy.passes
            strategy.loss = strategy.loss + strategy.model.raw(features, task).square().mean()
"""
        + TAIL.format(name="half_way")
    )
    try:
        load_plugin_files([path])
        found = {finding.check: finding for finding in check("half_way", bench)}["gradients"]
        asked = path.with_name("asked.py")
        asked.write_text(
            path.read_text()
            .replace("half_way", "asked")
            .replace("        for task", "        strategy.activate(strategy.past_tasks)\n        for task")
        )
        load_plugin_files([asked])
        other = {finding.check: finding for finding in check("asked", bench)}["gradients"]
    finally:
        for name in ("half_way", "asked"):
            strategies.entries.pop(name, None)
    assert found.state == "note"
    assert "the predictors of det, seg, which stay as they are; `strategy.activate(" in found.said
    assert other.state == "OK"


def test_a_misspelt_setting_is_a_finding(bench: Bench) -> None:
    (finding,) = check("kd[wieght=2]", bench)
    assert (finding.check, finding.state) == ("settings", "failed")
    assert "did you mean 'weight'" in finding.said


def test_what_a_stock_plugin_cannot_do_is_noted(bench: Bench) -> None:
    findings = {f.check: f for f in check("avalanche.training.plugins.EWCPlugin[ewc_lambda=0.5]", bench)}
    assert not [finding for finding in findings.values() if finding.state == "failed"]
    noted = {name for name, finding in findings.items() if finding.state == "note"}
    assert noted >= {"effect", "neutral setting", "resume", "memory"}


def test_a_stage_that_would_start_anew_is_noted(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "silent.py"
    path.write_text(
        HEAD
        + """
    acts_from = 2
    def before_backward(self, strategy, **_):
        strategy.loss *= 1.5
"""
        + TAIL.format(name="silent")
    )
    try:
        load_plugin_files([path])
        found = {finding.check: finding for finding in check("silent", bench)}["resume"]
    finally:
        strategies.entries.pop("silent", None)
    assert found.state == "note"
    assert "starts anew" in found.said
    assert "`stateless = True`" in found.said


def test_a_new_strategy_works_as_it_is_written(bench: Bench, tmp_path: Path) -> None:
    path, test = new_strategy("my_pull", tmp_path)
    assert len(path.read_text().splitlines()) <= 32
    compile(test.read_text(), str(test), "exec")
    try:
        load_plugin_files([path])
        findings = check("my_pull[weight=1.0]", bench)
    finally:
        strategies.entries.pop("my_pull", None)
    assert [finding for finding in findings if finding.state != "OK"] == []
    assert "stores no image" in {finding.check: finding.said for finding in findings}["memory"]
