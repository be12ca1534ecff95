"""Writes the plan and the store of an experiment that was never trained, with scores that look as if it had been."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from cl_bench.results.store.scores import Score, Scores
from cl_bench.results.store.store import Store

ENVIRONMENT = {
    "python": "3.11.7",
    "torch": "2.6.0",
    "torchvision": "0.21.0",
    "platform": "Linux-6.1",
    "processor": "Some CPU",
    "threads": 2,
    "device": "cpu",
    "precision": "float32",
}
TASKS = {
    "seg": {"kind": "segmentation", "metrics": ["mIoU"], "predictor": "linear", "classes": 11, "trivial": 0.09},
    "det": {"kind": "detection", "metrics": ["AP50", "AP"], "predictor": "per_class", "classes": 10, "trivial": 0.01},
    "cls": {
        "kind": "classification",
        "metrics": ["Top-1", "Top-5"],
        "predictor": "linear",
        "classes": 10,
        "trivial": 0.1,
    },
}
TESTS = {
    "seg": {"id": "seg-test", "images": 600, "trivial": 0.08, "counts": {"sky": 9000, "sea": 12}},
    "det": {
        **{"id": "det-test", "images": 430, "trivial": 0.02, "counts": {"dog": 23, "cat": 34, "car": 50, "cup": 0}},
        "weakness": "AP50 hangs on few true boxes: dog 23, cat 34",
    },
    "cls": {"id": "cls-test", "images": 300, "trivial": 0.12, "counts": {"ant": 30, "bee": 30}},
}
"""What plan.json says of their test parts."""
TOP = {"seg": 0.46, "det": 0.31, "cls": 0.84}
"""What each task's headline metric reaches."""
KEPT = {"naive": 0.12, "kd": 0.72, "replay": 0.85, "kd+replay": 0.975}
"""The part of a past task's score that one later stage leaves."""


class Experiment:
    """Collects runs and stages, then writes them; every stage's scores may be set before that."""

    def __init__(self, results: Path, name="quickstart", tasks=("seg", "det", "cls"), epochs=5, schedule="per_stage"):
        self.results, self.folder, self.store, self.epochs = results, results / name, results / "stages", epochs
        self.stages = {}
        self.scores = {}
        self.costs = {}
        self.environments = {}
        self.evaluations = {}
        """Texts in place of evaluations.csv, by stage."""
        self.classes = {}
        """Stage -> task -> class -> headline score."""
        self.resamples = {}
        """Stage -> task -> headline scores in resamples of the images."""
        self.tests = {}
        """Stage -> task -> headline score on its test part."""
        self.test_classes = {}
        """Stage -> task -> class -> headline score on its test part; where there are none, all are as the task's."""
        self.excess = {}
        """Task -> what its test part's few images add to the headline metric."""
        self.plan = {
            "schema": 1,
            "experiment": name,
            "settings": {"name": name, "schedule": schedule, "seeds": []},
            "tasks": [
                {
                    "name": task,
                    **TASKS[task],
                    "train_images": 240,
                    "val_images": 60,
                    "epochs": epochs,
                    "image_size": 128,
                }
                for task in tasks
            ],
            "runs": [],
            "baselines": [],
            "stages": self.stages,
            "provenance": {"command": "cl-bench run", "commit": "abc1234", "machine": "a_box", "version": "0.1.0"},
        }

    def stage(self, key, tasks, parent, scores, seconds=100.0, stored=0, passes=0):
        """Add a stage; scores: task -> one score an epoch."""
        self.stages[key] = {"tasks": list(tasks), "parent": parent, "epochs": self.epochs}
        self.scores[key] = scores
        self.costs[key] = {
            "train_seconds": seconds,
            "evaluation_seconds": 3.5,
            "peak_memory_mb": 800.0 + 50 * passes,
            "parameters": 4175137,
            "added_parameters": 0,
            "added_passes": passes,
            "stored_images": stored,
        }
        return key

    def baseline(self, task, seed, scores):
        """Add a baseline whose stage may be the first of runs."""
        key = f"first-{task}-{seed}"
        if key not in self.stages:
            self.stage(key, [task], None, {task: scores})
        self.plan["baselines"].append({"task": task, "seed": seed, "stage": key})
        return key

    def run(self, strategy, order, seed, stages):
        self.plan["runs"].append({"strategy": strategy, "order": list(order), "seed": seed, "stages": list(stages)})

    def write(self, without=(), failed=()):
        """Write plan and store, leaving out the stages in `without` and `failed`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "plan.json").write_text(json.dumps(self.plan))
        for key in set(self.stages) - set(without) - set(failed):
            self._write_stage(key)
            for task, score in self.tests.get(key, {}).items():
                self._write_test(key, task, score)
        for key in failed:
            (self.results / "failed").mkdir(exist_ok=True)
            note = {"schema": 1, "key": key, "reason": "the loss is not finite"}
            (self.results / "failed" / f"{key}.json").write_text(json.dumps(note))
        return self.folder

    def add_tests(self, tasks=None, shift=-0.02, unscored=()):
        """Give tasks (all where None) test parts, and stages scores on them: those of val, shifted.

        unscored: keys of stages that have none.
        """
        for task in self.plan["tasks"]:
            if tasks is None or task["name"] in tasks:
                task["test"] = TESTS[task["name"]]
        parts = {task["name"] for task in self.plan["tasks"] if "test" in task}
        for key in set(self.stages) - set(unscored):
            scores = {task: float(scores[-1]) for task, scores in self.scores[key].items() if task in parts}
            self.tests[key] = {task: max(0.0, score + shift) for task, score in scores.items()}
        return self

    def _write_test(self, key, task, score):
        test = next(entry["test"] for entry in self.plan["tasks"] if entry["name"] == task)
        headline, second = (*TASKS[task]["metrics"], "")[:2]
        values = {headline: score, **({second: 0.5 * score} if second else {})}
        classes = self.test_classes.get(key, {}).get(task) or dict.fromkeys(test["counts"], score)
        score = Score(
            *(task, list(classes), values, test["images"], self.excess.get(task, 0.0)),
            *(np.full(20, score, np.float32), np.array(list(classes.values()), np.float64)),
        )
        Scores(self.store).add(key, test["id"], score, {})

    def _write_stage(self, key):
        lines = ["epoch,task,metric,value"]
        for epoch in range(self.epochs):
            for task, scores in self.scores[key].items():
                for rank, metric in enumerate(TASKS[task]["metrics"]):
                    value = scores[epoch] if not rank else min(1.0, scores[epoch] * (0.5 if task == "det" else 1.1))
                    lines.append(f"{epoch + 1},{task},{metric},{float(value)!r}")
        stage = {"key": key, **self.stages[key], "cost": self.costs[key]}
        stage["environment"] = {**ENVIRONMENT, **self.environments.get(key, {})}

        def write(folder):
            (folder / "evaluations.csv").write_text(self.evaluations.get(key, "\n".join(lines) + "\n"))
            if key in self.classes:
                rows = [f"{t},{c},{v}" for t, scores in self.classes[key].items() for c, v in scores.items()]
                (folder / "classes.csv").write_text("\n".join(["task,class,value", *rows]) + "\n")
            if key in self.resamples:
                save_file(self.resamples[key], folder / "resamples.safetensors")

        Store(self.store).add(key, stage, write)


def plausible(
    results, tasks=("seg", "det", "cls"), strategies=tuple(KEPT), seeds=(0, 1, 2), orders=None, joint=False, epochs=5
):
    """Return an experiment, not yet written, with learning curves and forgetting that differ a little by seed."""
    experiment = Experiment(results, tasks=tasks, epochs=epochs)
    experiment.plan["settings"]["seeds"] = list(seeds)
    for seed in seeds:
        random = np.random.default_rng(seed)
        rise = 1 - 0.6 * np.exp(-np.arange(epochs) / 1.2)
        learnt = {task: np.clip(TOP[task] * rise + random.normal(0, 0.012, epochs), 0, 1) for task in tasks}
        firsts = {task: experiment.baseline(task, seed, learnt[task]) for task in tasks}
        for order in orders or (tasks,):
            for strategy in strategies:
                stages = _chain(experiment, strategy, order, seed, firsts, learnt, random)
                experiment.run(strategy, order, seed, stages)
            if joint:
                scores = {task: np.clip(learnt[task] * 1.02 + random.normal(0, 0.01, epochs), 0, 1) for task in order}
                key = f"joint-{'-'.join(order)}-{seed}"
                experiment.run("joint", order, seed, [experiment.stage(key, order, None, scores, 300.0)])
    return experiment


def _chain(experiment, strategy, order, seed, firsts, learnt, random):
    stages, scores = [firsts[order[0]]], {order[0]: learnt[order[0]]}
    for position, task in enumerate(order[1:], start=1):
        fade = 1 - (1 - KEPT.get(strategy, 0.6)) * (1 - np.exp(-np.arange(1, experiment.epochs + 1)))
        noise = random.normal(0, 0.01, (len(scores), experiment.epochs))
        scores = {past: np.clip(old[-1] * fade + noise[i], 0, 1) for i, (past, old) in enumerate(scores.items())}
        scores[task] = np.clip(learnt[task] * (0.99 if "kd" in strategy else 1.01) + noise[0] / 2, 0, 1)
        key = f"{strategy}-{'-'.join(order[: position + 1])}-{seed}"
        stored = 10 if "replay" in strategy else 0
        stages.append(experiment.stage(key, [task], stages[-1], scores, 130.0 + 60 * bool(stored), stored))
    return stages
