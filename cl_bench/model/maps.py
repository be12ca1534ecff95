"""Where a backbone's maps at strides 8, 16 and 32 are, measured: what timm says of a backbone need not be so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

from cl_bench.errors import describe_error
from cl_bench.utils.randomness import isolated

STRIDES = (8, 16, 32)


class UnfitError(Exception):
    """A backbone that cannot serve, and why."""


class DoesNotRunError(UnfitError):
    """A backbone that cannot be built with maps, or raises when it is run."""


@dataclass(frozen=True)
class Layout:
    """How timm is asked for the maps at strides 8, 16 and 32, and how they come.

    indices: timm's `out_indices`; channels: of each map; channels_last: whether maps are (B, h, w, C) and not
    (B, C, h, w); img_size: pixels a side that the backbone is built for, None where it runs as timm has it; probe:
    pixels a side at which it surely runs; renumbered: whether the indices differ from the places in timm's list.
    """

    indices: tuple[int, ...]
    channels: tuple[int, ...]
    channels_last: bool
    img_size: int | None
    probe: int
    renumbered: bool

    @property
    def options(self) -> dict[str, Any]:
        """What timm's `create_model` is told beside the indices."""
        return _size_option(self.img_size)


def _size_option(side: int | None) -> dict[str, Any]:
    return {} if side is None else {"img_size": side}


@dataclass(frozen=True)
class _Maps:
    """The shapes of the maps that a backbone gave for images of one size."""

    side: int
    shapes: tuple[tuple[int, ...], ...]

    @property
    def channels_last(self) -> bool:
        # A map of as many channels as rows tells nothing; the others do.
        order = {rows == columns for _, rows, columns, last in self.shapes if not rows == columns == last}
        return order == {True}

    @property
    def strides(self) -> list[float]:
        """The stride of each map, 0 for one that is empty or not square."""
        sizes = [shape[1:3] if self.channels_last else shape[2:4] for shape in self.shapes]
        return [self.side / rows if rows == columns > 0 else 0 for rows, columns in sizes]

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(shape[-1 if self.channels_last else 1] for shape in self.shapes)


def measure(name: str, sides: Sequence[int] = ()) -> Layout:
    """Return the layout of timm's backbone `name` for images of `sides` pixels (none: as timm has it).

    It is run once, on torch's meta device, which computes shapes alone; no random stream moves. Raises UnfitError where
    it gives no maps at strides 8, 16 and 32.
    """
    with isolated():
        try:
            return _fitted(name, tuple(sides), "meta")
        except DoesNotRunError as error:
            if "meta" not in str(error).lower():
                raise
            return _fitted(name, tuple(sides), "cpu")


def _fitted(name: str, sides: tuple[int, ...], device: str) -> Layout:
    """Return the layout; a backbone that runs at its own size alone is built for the one that is wanted."""
    config = timm.models.get_pretrained_cfg(name)
    sides = sides or (config.input_size[-1] if config else 224,)
    probe = sides[0] if config and config.fixed_input_size else 64
    try:
        return _Trial(name, sides, device, None, probe).layout()
    except DoesNotRunError as error:
        if len(sides) > 1:
            raise
        try:
            return _Trial(name, sides, device, sides[0], sides[0]).layout()
        except DoesNotRunError:
            raise error from None


@dataclass(frozen=True)
class _Trial:
    name: str
    sides: tuple[int, ...]
    device: str
    img_size: int | None
    probe: int

    def layout(self) -> Layout:
        """Return which maps to take: those that timm names where they are the right ones, else what is measured."""
        everything = self._built()
        info: Any = everything.feature_info
        named = info.reduction()
        if set(STRIDES) <= set(named):
            places = tuple(named.index(stride) for stride in STRIDES)
            if (found := self._checked(places, places)) is not None:
                return found
        else:
            places = ()
        measured = [maps.strides for maps in self._run(everything)]
        if any(strides != measured[0] for strides in measured) or not set(STRIDES) <= set(measured[0]):
            strides = ", ".join(f"{stride:.3g}" for stride in measured[0])
            raise UnfitError(f"its maps have strides {strides}, not 8, 16 and 32")
        # timm numbers maps by stage, and its list may begin with a later one.
        indices = tuple(info.out_indices[measured[0].index(stride)] for stride in STRIDES)
        if (found := self._checked(indices, places)) is not None:
            return found
        raise UnfitError("timm does not give the maps that it is asked for")

    def _checked(self, indices: tuple[int, ...], places: tuple[int, ...]) -> Layout | None:
        """Return the layout with these indices, None where their maps have other strides."""
        found = self._run(self._built(out_indices=indices))
        if any(maps.strides != list(STRIDES) for maps in found):
            return None
        return Layout(
            indices, found[0].channels, found[0].channels_last, self.img_size, self.probe, renumbered=indices != places
        )

    def _built(self, **options: Any) -> nn.Module:
        try:
            with torch.device(self.device):
                return timm.create_model(self.name, features_only=True, **_size_option(self.img_size), **options)
        except Exception as error:  # each family of backbones refuses in its own way
            raise DoesNotRunError(f"it gives no feature maps ({describe_error(error)})") from error

    def _run(self, network: nn.Module) -> list[_Maps]:
        """Return the maps of a batch of two, as in training, at each size."""
        found = []
        for side in self.sides:
            try:
                with torch.no_grad():
                    maps = network.train()(torch.zeros(2, 3, side, side, device=self.device))
            except Exception as error:
                raise DoesNotRunError(f"it does not run ({describe_error(error)})") from error
            if not all(isinstance(one, Tensor) and one.ndim == 4 for one in maps):
                raise UnfitError("what it gives are no maps")
            found.append(_Maps(side, tuple(tuple(one.shape) for one in maps)))
        return found
