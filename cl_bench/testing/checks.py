"""What a strategy may get wrong, tried out on a tiny stream: `cl-bench strategy check`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Literal

import torch
from avalanche.core import SupervisedPlugin

from cl_bench.errors import UserError
from cl_bench.plugins.composition import Composition, Term, parse
from cl_bench.stages.plan import Plan
from cl_bench.testing.bench import Bench

HOOKS = frozenset(name for name in dir(SupervisedPlugin) if name.startswith(("before_", "after_")))
"""The callbacks that a plug-in may have."""


@dataclass(frozen=True)
class Finding:
    """What one check came to; note: it is no error, but worth knowing."""

    check: str
    state: Literal["OK", "note", "failed"]
    said: str = ""


def check(text: str, bench: Bench) -> list[Finding]:
    """Return what there is to say of the strategy `text`, as written in an experiment; the first failure may end it."""
    try:
        composition = parse(text)
        plan = bench.plan(text)
    except UserError as error:
        return [Finding("settings", "failed", str(error))]
    findings = [Finding("settings", "OK"), _hooks(composition)]
    started = time.monotonic()
    failure = bench.train(plan)
    if failure is not None:
        return [*findings, Finding("training", "failed", f"{failure.reason}; {' | '.join(failure.log[-3:])}")]
    findings.append(Finding("training", "OK", f"{len(plan.stages)} stages in {time.monotonic() - started:.0f} s"))
    if composition.together:
        return [
            *findings,
            Finding("the rest", "note", "all tasks are trained at once: nothing is learnt after another"),
        ]
    naive = bench.plan("naive")
    bench.train(naive)
    run = _Run(bench, composition, plan, naive)
    return [*findings, *(look(run) for look in _CHECKS)]


def _hooks(composition: Composition) -> Finding:
    for plugin in (plugin for term in composition.terms for plugin in term.build()):
        own = {name for name in dir(plugin) if not name.startswith("_") and callable(getattr(plugin, name))}
        for name in sorted(own - HOOKS):
            close = get_close_matches(name, HOOKS, n=1, cutoff=0.85)
            if close or name.startswith(("before_", "after_")):
                hint = f"; did you mean {close[0]}?" if close else ""
                said = f"{type(plugin).__name__}.{name} is no callback and is never called{hint}"
                return Finding("hooks", "failed", said)
        if all(getattr(type(plugin), name) is getattr(SupervisedPlugin, name) for name in own & HOOKS):
            return Finding("hooks", "failed", f"{type(plugin).__name__} has no callback, so it does nothing")
    return Finding("hooks", "OK")


@dataclass(frozen=True)
class _Run:
    """A strategy that was trained, beside naive."""

    bench: Bench
    composition: Composition
    plan: Plan
    naive: Plan

    @cached_property
    def ends(self) -> list[dict[str, torch.Tensor]]:
        return self.bench.ends(self.plan)

    @cached_property
    def reference(self) -> list[dict[str, torch.Tensor]]:
        return self.bench.ends(self.naive)


def _learning(run: _Run) -> Finding:
    untrained = run.bench.trainer.untrained(run.plan.runs[0].seed)
    learnt = [name for name, _ in untrained.named_parameters()]
    starts = [untrained.state_dict(), *run.ends]
    pairs = enumerate(zip(starts, run.ends, strict=False), 1)
    if still := [place for place, (a, b) in pairs if all(torch.equal(a[name], b[name]) for name in learnt)]:
        said = f"stage {still[0]} ends with the weights it began with: nothing was learnt"
        return Finding(
            "learning", "failed", f"{said}; the model and its optimizer are the harness's, not to be replaced"
        )
    return Finding("learning", "OK", "every stage ends with other weights than it began with")


def _effect(run: _Run) -> Finding:
    first = next((n for n, pair in enumerate(zip(run.ends, run.reference, strict=True), 1) if not _same(*pair)), None)
    if first is None:
        if all(term.name == "naive" for term in run.composition.terms):
            return Finding("effect", "OK", "naive itself")
        return Finding("effect", "failed", "every stage has the bits of naive's: the strategy changes nothing")
    said = f"differs from naive from stage {first} on"
    early = [plugin for plugin in run.composition.traits if plugin.acts_from == 1]
    # One that carries something may gather it from the first stage on, without a trace in the weights.
    if first > 1 and not all(plugin.carries for plugin in early):
        advice = f"say `acts_from = {first}` in the plug-in, and earlier stages are shared with other strategies"
        return Finding("effect", "note", f"{said}; {advice}")
    return Finding("effect", "OK", said)


def _neutral(run: _Run) -> Finding:
    terms = [term for term in run.composition.terms if term.name != "naive"]
    silent = [term.name for term in terms if term.entry.neutral is None]
    if silent:
        advice = (
            "declare the settings at which it must equal naive, as in `neutral={'weight': 0.0}`, to have that tested"
        )
        return Finding("neutral setting", "note", f"{silent[0]} has none; {advice}")
    plan = run.bench.plan("+".join(map(_at_neutral, terms)) or "naive")
    failure = run.bench.train(plan)
    if failure is not None:
        return Finding("neutral setting", "failed", failure.reason)
    if not all(map(_same, run.bench.ends(plan), run.reference)):
        return Finding(
            "neutral setting", "failed", f"{plan.runs[0].strategy} differs from naive: is the term added twice?"
        )
    return Finding("neutral setting", "OK", "equals naive bit for bit")


def _at_neutral(term: Term) -> str:
    settings = {**term.settings, **(term.entry.neutral or {})}
    return f"{term.name}[{','.join(f'{key}={value}' for key, value in settings.items())}]" if settings else term.name


def _images(run: _Run) -> Finding:
    own, naive = ([step for seen in run.bench.seen(plan) for step in seen.images] for plan in (run.plan, run.naive))
    if own == naive:
        return Finding("images", "OK", "the current task's come as in every other strategy")
    return Finding("images", "failed", "the current task's images, or their order, are not those of naive")


def _predictors(run: _Run) -> Finding:
    learnt: set[str] = set()
    before = run.bench.trainer.untrained(run.plan.runs[0].seed).state_dict()
    for key, after in zip(run.plan.runs[0].stages, run.ends, strict=True):
        learnt |= set(run.plan.stages[key].trained)
        for task in run.plan.runs[0].order:
            if task not in learnt and not _same(before, after, f"predictors.{task}."):
                return Finding("predictors", "failed", f"that of {task} moves before {task} is learnt")
        before = after
    return Finding("predictors", "OK", "those of tasks to come keep their bytes")


def _gradients(run: _Run) -> Finding:
    dropped = sorted(set[str]().union(*(seen.dropped for seen in run.bench.seen(run.plan))))
    if dropped:
        said = f"a loss reaches the predictors of {', '.join(dropped)}, which stay as they are"
        return Finding("gradients", "note", f"{said}; `strategy.activate(strategy.past_tasks)` has them trained, too")
    return Finding("gradients", "OK", "all that losses reach of past predictors is trained, or is to stay")


def _batch_norm(run: _Run) -> Finding:
    updates = set[int]().union(*(seen.norm_updates for seen in run.bench.seen(run.plan)))
    if updates <= {0, 1}:
        return Finding("batch norm", "OK", f"{max(updates)} update a step")
    advice = "run further images through `strategy.add_batch`, or under `frozen_statistics(model)`"
    return Finding("batch norm", "failed", f"its statistics are updated {max(updates)} times a step: {advice}")


def _teacher(run: _Run) -> Finding:
    teachers = [seen.teachers for seen in run.bench.seen(run.plan) if seen.teachers]
    if any(len(set(hashes)) > 1 for hashes in teachers):
        return Finding("teacher", "failed", "its weights or statistics move while a stage is trained")
    return Finding("teacher", "OK", "stays as it was" if teachers else "has none")


def _resume(run: _Run) -> Finding:
    key = run.plan.runs[0].stages[-1]
    stage = run.plan.stages[key]
    if run.composition.chained:
        advice = "say `stateless = True` or `acts_from = 2`, or give the plug-in state_dict and load_state_dict"
        return Finding("resume", "note", f"its stages are trained in one process and resume as a whole; {advice}")
    unbroken = run.bench.store.describe(key)["hashes"]["last"]
    run.bench.store.discard(key)
    run.bench.train(run.plan, interrupt=key)
    failure = run.bench.train(run.plan)
    if failure is not None:
        return Finding("resume", "failed", f"cut off after an epoch and run again: {failure.reason}")
    if run.bench.store.describe(stage.key)["hashes"]["last"] != unbroken:
        return Finding(
            "resume", "failed", "cut off after an epoch and run again, the last stage ends with other weights"
        )
    if any(plugin.opaque for plugin in run.composition.traits):
        advice = (
            "say `stateless = True` where it gathers nothing, or have state_dict and load_state_dict, and it goes on"
        )
        return Finding("resume", "note", f"cut off, a stage starts anew and ends with the same bits; {advice}")
    return Finding("resume", "OK", "cut off after an epoch and run again, it ends with the same bits")


def _memory(run: _Run) -> Finding:
    stages = [run.bench.store.describe(key) for key in run.plan.runs[0].stages]
    if any(stage["cost"]["stored_images"] is None for stage in stages):
        advice = (
            "say `stores_images = False` in the plug-in where it does not, and where it does name them in"
            " `strategy.report['memory'][task]`, as `Memory` of strategies/replay.py does"
        )
        return Finding("memory", "note", f"it does not say whether it stores images; {advice}")
    entries = run.bench.trainer.entries
    for stage in stages:
        for task, names in stage["memory"].items():
            train = {example.name for example in entries[task].audit.train.examples}
            if strays := set(names) - train:
                return Finding("memory", "failed", f"{min(strays)} is no training image of {task}")
    most = max(stage["cost"]["stored_images"] for stage in stages)
    return Finding("memory", "OK", f"{most:.0f} images of each past task" if most else "stores no image")


def _cost(run: _Run) -> Finding:
    own, naive = (
        [run.bench.store.describe(key)["cost"] for key in plan.runs[0].stages] for plan in (run.plan, run.naive)
    )
    ratio = sum(cost["train_seconds"] for cost in own) / sum(cost["train_seconds"] for cost in naive)
    said = f"{ratio:.1f} times naive's training time here"
    added = max(cost["added_parameters"] for cost in own), max(cost["added_passes"] for cost in own)
    if any(added):
        return Finding(
            "cost", "note", f"{said}; adds {added[0]:,} parameters and {added[1]:g} passes, as tables will say"
        )
    return Finding("cost", "OK", f"{said}; no parameters, no passes added")


_CHECKS: Sequence[Callable[[_Run], Finding]] = (
    *(_learning, _effect, _neutral, _images, _predictors, _gradients, _batch_norm, _teacher, _resume, _memory, _cost),
)


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], prefix: str = "") -> bool:
    return all(torch.equal(a[name], b[name]) for name in a if name.startswith(prefix))
