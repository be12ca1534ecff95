"""The divergence that distillation is made of, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from cl_bench.kinds.base import Distill
from cl_bench.kinds.divergence import bernoulli_kl, kl

T = 2.0
STUDENT, TEACHER = (0.75, 0.25), (0.5, 0.5)
"""Probabilities at temperature 2; the logits below are 2 * log of their ratios."""


def logits(probabilities: tuple[float, float]) -> torch.Tensor:
    return torch.tensor([[T * math.log(p) for p in probabilities]])


def by_hand(p: tuple[float, float], q: tuple[float, float]) -> float:
    return T**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ("student_teacher", by_hand(STUDENT, TEACHER)),  # 4 * 0.130812
        ("teacher_student", by_hand(TEACHER, STUDENT)),  # 4 * 0.143841
    ],
)
def test_both_directions_against_values_by_hand(direction: str, expected: float) -> None:
    found = kl(logits(STUDENT), logits(TEACHER), Distill(T, direction))
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_the_values_by_hand_are_the_known_ones() -> None:
    assert by_hand(STUDENT, TEACHER) == pytest.approx(4 * 0.1308120)
    assert by_hand(TEACHER, STUDENT) == pytest.approx(4 * 0.1438410)


@pytest.mark.parametrize("direction", ["student_teacher", "teacher_student"])
def test_yes_no_logits_are_two_classes(direction: str) -> None:
    how = Distill(T, direction)
    # sigmoid(z / 2) is the first probability, so z is twice its log-odds.
    yes = torch.tensor([2 * math.log(3.0)]), torch.tensor([0.0])
    assert float(bernoulli_kl(*yes, how)) == pytest.approx(float(kl(logits(STUDENT), logits(TEACHER), how)), abs=1e-6)


@pytest.mark.parametrize("direction", ["student_teacher", "teacher_student"])
@pytest.mark.parametrize("temperature", [0.5, 2.0, 10.0])
def test_equal_logits_give_exactly_zero(direction: str, temperature: float) -> None:
    same = 20 * torch.randn(3, 7, 4, 4, generator=torch.Generator().manual_seed(0))
    assert float(kl(same, same.clone(), Distill(temperature, direction))) == 0.0
    assert float(bernoulli_kl(same, same.clone(), Distill(temperature, direction))) == 0.0


def test_it_is_a_mean_over_everything_but_the_classes() -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4, generator=torch.Generator().manual_seed(1))
    how = Distill()
    value = float(kl(student, teacher, how))
    assert value > 0
    larger = [x.repeat_interleave(2, 2).repeat_interleave(2, 3) for x in (student, teacher)]
    more = [x.repeat(3, 1, 1, 1) for x in (student, teacher)]
    assert float(kl(*larger, how)) == pytest.approx(value, rel=1e-5)
    assert float(kl(*more, how)) == pytest.approx(value, rel=1e-5)


def test_logits_far_apart_stay_finite() -> None:
    student, teacher = torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])
    for direction in ("student_teacher", "teacher_student"):
        assert math.isfinite(float(kl(student, teacher, Distill(T, direction))))


def test_a_large_temperature_approaches_matching_centred_logits() -> None:
    student, teacher = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(2)).double()
    difference = student - teacher
    centred = difference - difference.mean(1, keepdim=True)
    limit = centred.square().sum(1).mean() / (2 * 6)  # Hinton et al., section 2.1
    assert float(kl(student, teacher, Distill(50.0))) == pytest.approx(float(limit), rel=0.05)
