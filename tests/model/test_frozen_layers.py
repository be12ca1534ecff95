"""Layers that are frozen, and running without them."""

from __future__ import annotations

import torch
from torch import nn

from cl_bench.model.frozen_layers import frozen_parts, recording, replaced, shared_layers


class Twice(nn.Module):
    """Runs one layer twice, and another once."""

    def __init__(self) -> None:
        super().__init__()
        self.once, self.twice, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.twice(self.twice(self.once(x))))
        return found


def model(seed: int = 0) -> Twice:
    torch.manual_seed(seed)
    found = Twice()
    found.once.requires_grad_(False)
    found.twice.requires_grad_(False)
    return found


def test_the_largest_frozen_parts_are_found() -> None:
    nested = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    assert not frozen_parts(nested)
    nested[0].requires_grad_(False)
    nested[1][1].requires_grad_(False)
    assert list(frozen_parts(nested)) == ["0", "1.1"]
    assert frozen_parts(nested.requires_grad_(False)) == {"": nested}
    assert not frozen_parts(nn.ReLU())


def test_only_equal_layers_are_shared_statistics_included() -> None:
    mine, theirs = model(), model()
    assert shared_layers(mine, theirs) == {"once", "twice"}
    with torch.no_grad():
        theirs.once.weight += 1e-6
    assert shared_layers(mine, theirs) == {"twice"}
    norms = [nn.Sequential(nn.BatchNorm1d(2)).requires_grad_(False) for _ in range(2)]
    assert shared_layers(*norms) == {""}
    norms[1][0].running_mean += 1
    assert not shared_layers(*norms)


def test_a_layer_that_runs_twice_is_not_recorded() -> None:
    mine = model()
    x = torch.rand(4, 3)
    with recording(mine, ["once", "twice"]) as outputs:
        mine(x)
    assert list(outputs) == ["once"]
    torch.testing.assert_close(outputs["once"], mine.once(x))
    with recording(mine, ["once"]) as again:
        pass
    mine(x)
    assert not again, "nothing is recorded afterwards"


def test_what_is_answered_does_not_run_and_does_so_again_afterwards() -> None:
    mine = model()
    x, other = torch.rand(4, 3), torch.rand(4, 3)
    wanted = mine(other)
    with replaced(mine, {"once": mine.once(other)}):
        assert torch.equal(mine(x), wanted)
    assert not torch.equal(mine(x), wanted)
    assert torch.equal(mine(other), wanted)
