"""One process that trains on a partition: what it holds, and how it reaches the rest."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import ConfigError, RunError
from ..graphs.dgl_import import dgl
from ..training.team import Team
from .folder import GRAPH, Parts, array, graph_file, open_parts, pairs_of
from .spec import ENTERED

Remote = Any
"""A `dgl.distributed.DistTensor`: `table[ids]` pulls rows, `table[ids] = rows` pushes them."""
WAIT_SECONDS = 1800
"""Longest wait for the other trainers within training; the launcher sees who died."""


@dataclass(frozen=True)
class Cluster:
    """A trainer's view of all hosts.

    Attributes:
        folder: partition folder.
        parts: what lies in it.
        graph: `dgl.distributed.DistGraph`.
        team: the trainers.
        part: the part of this trainer's host.
    """

    folder: Path
    parts: Parts
    graph: Any
    team: Team
    part: int

    def own(self, kind: str) -> tuple[int, int]:
        """First place of this trainer's nodes, and the place after the last.

        Those of a host are shared out among its trainers: users by their number of pairs.
        """
        counts = {"user": self.parts.users, "item": self.parts.items}[kind]
        first = sum(counts[: self.part])
        last = first + counts[self.part]
        trainers = self.team.size // len(self.parts)
        turn = self.team.rank % trainers
        if trainers == 1:
            return first, last
        if kind == "item":
            n = last - first
            return first + n * turn // trainers, first + n * (turn + 1) // trainers
        owners = array(self.folder, "train")[0]
        start, end = np.searchsorted(owners, [first, last])
        cuts = [start + (end - start) * n // trainers for n in range(1, trainers)]
        bounds = [first, *(int(owners[cut]) for cut in cuts), last]
        return bounds[turn], bounds[turn + 1]

    def pairs(self, split: str) -> Tensor:
        """`(2, n)` places of the pairs of this trainer's users."""
        return pairs_of(self.folder, split, *self.own("user"))

    def data(self, kind: str, name: str) -> Remote:
        """Node data that travelled with the graph."""
        return self.graph.nodes[kind].data[name]

    def table(self, kind: str, width: int, name: str) -> Remote:
        """A new table of zeros, `(n, width)` float32, each row with its node."""
        shape = (self.graph.num_nodes(kind), width)
        policy = self.graph.get_node_partition_policy(kind)
        return dgl.distributed.DistTensor(shape, torch.float32, name, part_policy=policy)

    def barrier(self) -> None:
        """Wait for all trainers."""
        self.team.sum(torch.zeros(1))


@contextlib.contextmanager
def entered(folder: str | Path) -> Iterator[Cluster]:
    """This process as a trainer: with the servers that the environment names, or all alone.

    The environment is that of `HostSpec`, which docs/distributed.md lists. Without it, one process
    trains on one part. With `DGL_ROLE=server` this never returns.

    Raises:
        RunError: the folder is no whole partition, or the other processes are not to be reached.
        ConfigError: there are several parts and no servers.
    """
    folder = Path(folder)
    parts = open_parts(folder)
    alone = os.environ.get("DGL_DIST_MODE", "standalone") == "standalone"
    if alone and len(parts) > 1:
        raise ConfigError(
            f"{folder} has {len(parts)} parts: name their hosts with --hosts, or partition into one"
        )
    with contextlib.redirect_stdout(io.StringIO()):  # DGL tells how far it is
        if address := os.environ.get("CROSSALIGN_ADDRESS"):  # several may be on one machine
            dgl.distributed.rpc_client.local_ip4_addr_list = lambda: {address}
        dgl.distributed.initialize(os.environ.get("DGL_IP_CONFIG", "none"))
        _join(alone)
        graph = dgl.distributed.DistGraph(GRAPH, part_config=str(graph_file(folder)))
    part = 0 if alone else graph.get_partition_book().partid
    team = Team(dist.get_rank(), dist.get_world_size())
    if team.size % len(parts):
        raise ConfigError(f"{team.size} trainers cannot be shared out among {len(parts)} parts")
    if not alone:
        sys.stderr.write(f"{ENTERED}\n")
        sys.stderr.flush()
    try:
        yield Cluster(folder, parts, graph, team, part)
    except BaseException:
        # At the exit of a process DGL waits for all others, who wait for what this one computes.
        atexit.unregister(dgl.distributed.exit_client)
        raise
    else:
        if not alone:
            with contextlib.redirect_stdout(io.StringIO()):
                dgl.distributed.exit_client()
    finally:
        dist.destroy_process_group()


def _join(alone: bool) -> None:
    """Meet the other trainers."""
    wait = timedelta(seconds=WAIT_SECONDS)
    try:
        if alone:
            dist.init_process_group(
                "gloo", store=dist.HashStore(), rank=0, world_size=1, timeout=wait
            )
        else:
            dist.init_process_group(
                "gloo",
                init_method=f"tcp://{os.environ['CROSSALIGN_MEET']}",
                rank=int(os.environ["CROSSALIGN_TRAINER"]),
                world_size=int(os.environ["CROSSALIGN_TRAINERS"]),
                timeout=wait,
            )
    except KeyError as error:
        raise ConfigError(f"{error.args[0]} is not set: see docs/distributed.md") from error
    except (RuntimeError, ValueError) as error:
        raise RunError(f"the trainers do not reach each other ({error})") from error
