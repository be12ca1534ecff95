"""What a plug-in says of itself, by attributes of these names: all that planning and training ask of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from cl_bench.plugins.code_origin import code_identity
from cl_bench.plugins.stock import mixes


class Traits(NamedTuple):
    """Defaults are those of a plug-in that says nothing; `carries`, `mixes` and `code` are found out, not said.

    acts_from: the first stage (1, 2, ...) in which it changes anything; follows_expert: it needs the baseline of the
    task at hand, follows_past_experts: the past tasks', too; rehearses: it weighs stored images in the step's loss, as
    one plug-in can; goes_first: it takes the step once more, so that what changes gradients comes after it;
    stores_images: it may store any; by_class: it chooses them by what they show; draws_stored: a step takes some of
    them, in an order of their own; stateless: it gathers nothing while it trains; carries: what it holds can be stored
    and given back; mixes: it puts images of several tasks into one batch; code: the hash of its files where it is from
    outside this package.
    """

    acts_from: int = 1
    follows_expert: bool = False
    follows_past_experts: bool = False
    rehearses: bool = False
    goes_first: bool = False
    stores_images: bool = True
    by_class: bool = False
    draws_stored: bool = False
    stateless: bool = False
    carries: bool = False
    mixes: bool = False
    code: str | None = None

    @property
    def storable(self) -> bool:
        """Whether all that it holds can be stored."""
        return self.stateless or self.carries

    @property
    def opaque(self) -> bool:
        """Whether it is from elsewhere and may hold anything: a stage with it starts anew, then."""
        return self.code is not None and not self.storable

    @property
    def tells_of_images(self) -> bool:
        """Whether it stores no images, or reports those that it stores, as our own do."""
        return self.code is None or not self.stores_images


def traits_of(plugin: Any) -> Traits:
    """Return what `plugin` says of itself."""
    names = [name for name in Traits._fields if name not in ("carries", "mixes", "code")]
    said = {name: getattr(plugin, name) for name in names if hasattr(plugin, name)}
    return Traits(**said, carries=carries(plugin), mixes=mixes(plugin), code=code_identity(plugin))


def carries(plugin: Any) -> bool:
    """Return whether the plug-in carries something, and can be given it back."""
    return hasattr(plugin, "state_dict") and hasattr(plugin, "load_state_dict")
