"""The ids of a batch: which occur, and how often, without waiting for a device.

How many distinct ids a batch has decides the shape of all that follows, so the host has to know.
To ask a GPU for it is to wait until the GPU has done all that was asked of it before.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor


def at_hand(x: Tensor) -> bool:
    """Whether the host reads the values of `x` without waiting for a device.

    Code that takes fewer rows where it knows their number asks this first, and else takes all rows
    with weights. Both ways give equal numbers.
    """
    return x.device.type == "cpu"


class Repeated(NamedTuple):
    """Ids of a batch by their distinct values: what repeats is computed once and counted."""

    ids: Tensor
    """`(n,)` int64, sorted, distinct"""
    of: Tensor
    """`(batch,)` int64, the position in `ids` of every entry"""
    counts: Tensor
    """`(n,)` int64, how often each occurs"""

    @classmethod
    def of_batch(cls, ids: Tensor) -> Repeated:
        """Of the ids `(batch,)` int64; counted on the host if it knows them (`HostIds`)."""
        if isinstance(ids, HostIds):
            return ids.repeated
        return cls(*ids.unique(return_inverse=True, return_counts=True))


class HostIds(Tensor):
    """Ids on a device of which the host keeps a copy.

    An ordinary tensor in every operation, and what comes out of one is an ordinary tensor.

    Attributes:
        host: the same ids, on the CPU.
    """

    host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def on(cls, device: torch.device, host: Tensor) -> HostIds:
        """`host` `(n,)`, ids on the CPU, on `device`."""
        ids = sent(host, device).as_subclass(cls)
        ids.host = host
        return ids

    @functools.cached_property
    def repeated(self) -> Repeated:
        """Distinct values, counted on the host and sent to the device; once for all users."""
        return Repeated(*(sent(x, self.device) for x in Repeated.of_batch(self.host)))


def joined(*ids: Tensor) -> Tensor:
    """Several id vectors, one after the other; known to the host if all of them are."""
    hosts = [part.host for part in ids if isinstance(part, HostIds)]
    if len(hosts) < len(ids):
        return torch.cat(ids)
    return HostIds.on(ids[0].device, torch.cat(hosts))


def part_of(ids: Tensor, part: slice) -> Tensor:
    """Some of `ids`, known to the host if they all are."""
    return HostIds.on(ids.device, ids.host[part]) if isinstance(ids, HostIds) else ids[part]


def sorted_ids(*ids: Tensor) -> Tensor:
    """All values of several id vectors, sorted; distinct if they are at hand, else with repeats.

    Reading some rows twice takes a GPU less time than it takes to tell the host their number.
    """
    together = torch.cat(ids)
    return together.unique() if at_hand(together) else together.sort().values


def sent(host: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on `device`; the host does not wait for its arrival."""
    pinned = host.pin_memory() if device.type == "cuda" else host
    return pinned.to(device, non_blocking=True)
