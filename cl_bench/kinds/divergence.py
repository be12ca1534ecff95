"""The Kullback-Leibler divergence that every kind's distillation is made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cl_bench.kinds.base import Distill


def kl(student: Tensor, teacher: Tensor, how: Distill) -> Tensor:
    """Return T^2 times the KL divergence over classes, a mean over everything else; once where not `how.squared`.

    student, teacher: logits (B, classes, ...). Exactly 0 where both are equal.
    """
    s = F.log_softmax(student.float() / how.temperature, 1)
    t = F.log_softmax(teacher.float() / how.temperature, 1)
    p, q = (s, t) if how.direction == "student_teacher" else (t, s)
    factor = how.temperature**2 if how.squared else 1.0
    return factor * (p.exp() * (p - q)).sum(1).mean()


def bernoulli_kl(student: Tensor, teacher: Tensor, how: Distill) -> Tensor:
    """Return what `kl` does of yes/no logits of any shape, a mean over all of them."""
    s, t = student.float(), teacher.float()
    yes_no_s = torch.stack((s, torch.zeros_like(s)), 1)
    yes_no_t = torch.stack((t, torch.zeros_like(t)), 1)
    return kl(yes_no_s, yes_no_t, how)
