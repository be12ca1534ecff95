"""What plug-ins carry from stage to stage."""

from __future__ import annotations

import torch

from cl_bench.training import plugin_state


class Counter:
    def __init__(self) -> None:
        self.count = torch.zeros(1)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"count": self.count}

    def load_state_dict(self, tensors: dict[str, torch.Tensor]) -> None:
        self.count = tensors["count"]


class Plain:
    """Carries nothing."""


def test_each_plug_in_gets_its_own_back() -> None:
    first, second = Counter(), Counter()
    first.count += 1
    second.count += 2
    stored = plugin_state.collect([Plain(), first, second])
    assert set(stored) == {"Counter.0/count", "Counter.1/count"}
    again = [Counter(), Plain(), Counter(), Counter()]
    plugin_state.restore(again, stored)
    assert [float(plugin.count) for plugin in again if isinstance(plugin, Counter)] == [1, 2, 0]
