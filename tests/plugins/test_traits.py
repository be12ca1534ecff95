"""What plug-ins say of themselves."""

from __future__ import annotations

from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import EWCPlugin

from cl_bench.plugins.traits import Traits, traits_of
from cl_bench.strategies.der import DarkReplay


class _Gathers(SupervisedPlugin):
    acts_from = 2
    follows_expert = True

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, tensors: dict[str, object]) -> None:
        pass


def test_a_plug_in_that_says_nothing_may_hold_and_store_anything_and_acts_from_the_first_stage() -> None:
    stock = traits_of(EWCPlugin(1.0))
    assert stock == Traits(code=stock.code)
    assert (stock.acts_from, stock.opaque, stock.storable, stock.tells_of_images) == (1, True, False, False)


def test_what_a_plug_in_says_is_taken_as_it_is() -> None:
    found = traits_of(_Gathers())
    assert found == Traits(acts_from=2, follows_expert=True, carries=True, code=found.code)
    assert (found.storable, found.opaque) == (True, False)


def test_our_own_report_the_images_that_they_store() -> None:
    own = traits_of(DarkReplay(1, 0.5, 0.5))
    assert (own.code, own.stores_images, own.tells_of_images) == (None, True, True)
