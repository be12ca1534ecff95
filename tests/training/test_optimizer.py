"""Parameter groups and their factors on the learning rate."""

from __future__ import annotations

import torch

from cl_bench.training.optimizer import freeze_rateless, limit_rate, regroup, scale_rate


def test_scaling_splits_groups_and_multiplies() -> None:
    a, b, c = (torch.nn.Parameter(torch.zeros(1)) for _ in range(3))
    optimizer = torch.optim.AdamW([{"params": [a, b], "scale": 1.0}, {"params": [c], "scale": 0.5}])
    scale_rate(optimizer, [b, c], 0.1)
    scale_rate(optimizer, [b], 0.1)
    found = {id(p): group["scale"] for group in optimizer.param_groups for p in group["params"]}
    assert [round(found[id(p)], 6) for p in (a, b, c)] == [1.0, 0.01, 0.05]
    assert all(group["params"] for group in optimizer.param_groups)


def test_a_limit_slows_what_is_faster_alone() -> None:
    a, b, c = (torch.nn.Parameter(torch.zeros(1)) for _ in range(3))
    optimizer = torch.optim.AdamW([{"params": [a, b], "scale": 1.0}, {"params": [c], "scale": 0.1}])
    limit_rate(optimizer, [b, c], 0.5)
    found = {id(p): group["scale"] for group in optimizer.param_groups for p in group["params"]}
    assert [found[id(p)] for p in (a, b, c)] == [1.0, 0.5, 0.1]


def test_regrouping_forgets_moments_and_factors() -> None:
    p = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([{"params": [p], "scale": 1.0}])
    p.grad = torch.ones(1)
    optimizer.step()
    scale_rate(optimizer, [p], 0.0)
    regroup(optimizer, [{"params": [p], "scale": 1.0}], weight_decay=0.3)
    assert not optimizer.state
    assert [(group["scale"], group["weight_decay"]) for group in optimizer.param_groups] == [(1.0, 0.3)]


def test_what_has_no_rate_gets_no_gradient_until_it_is_let_go() -> None:
    a, b, c = (torch.nn.Parameter(torch.ones(1)) for _ in range(3))
    c.requires_grad_(False)
    optimizer = torch.optim.AdamW([{"params": [a, b, c], "scale": 1.0}])
    scale_rate(optimizer, [b, c], 0.0)
    frozen = freeze_rateless(optimizer)
    assert [p is b for p in frozen] == [True], "what a plug-in holds itself is not ours to let go"
    (a * b).sum().backward()
    assert (a.grad is None, b.grad is None) == (False, True)
