"""The processes that train one model together, and what they tell each other."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import RunError
from ..tensors.functional import first_order
from .seeding import generator


class Team:
    """The processes that train together, seen from one of them.

    Every method that sends must be called by all of them, in the same order. A team of one sends
    nothing.

    Args:
        rank: number of this process, from 0.
        size: number of processes.
        device: what they send from.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | str = "cpu") -> None:
        self.rank = rank
        self.size = size
        self.device = torch.device(device)
        self._own = torch.Generator()

    @property
    def first(self) -> bool:
        """Whether this process writes, prints and shows bars."""
        return self.rank == 0

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Let `own_draws` of this epoch follow from the seed and the number of the process."""
        self._own = generator(seed, f"rank {self.rank} epoch {epoch}")

    @contextmanager
    def own_draws(self) -> Iterator[None]:
        """Let torch draw what concerns this process alone, within the block.

        The draws around it, which all processes make alike, go on as if there were no block.
        """
        if self.size == 1:
            yield
            return
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(int(torch.randint(2**31 - 1, (), generator=self._own)))
            yield

    def part(self, n: int) -> slice:
        """This process's part of `n` rows; all of them if there are fewer rows than processes."""
        if n < self.size:
            return slice(0, n)
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def weight(self, n: int) -> float:
        """What makes the processes' mean of means over parts of `n` rows the mean over all."""
        part = self.part(n)
        return 1.0 if n < self.size else (part.stop - part.start) * self.size / n

    def gather(self, rows: Tensor, n: int) -> Tensor:
        """All `n` rows `(n, ...)`, of which each process has its part; differentiable."""
        if self.size == 1 or n < self.size:
            return rows
        gathered: Tensor = _Gather.apply(rows, n, self)
        return gathered

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of the processes' tensors, all of one shape; may overwrite `tensor`."""
        if self.size == 1:
            return tensor
        sent = tensor.to(self.device)
        with in_touch():
            dist.all_reduce(sent)
        return sent.to(tensor.device)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every parameter the mean of the processes' gradients, in one exchange for each type.

        A gradient that some lack counts as zero there. One that all lack stays None, so that Adam
        leaves its parameter alone.
        """
        if self.size == 1:
            return
        dense: dict[torch.dtype, list[nn.Parameter]] = {}
        for parameter in parameters:
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = self._mean_of_sparse(parameter.grad)
            elif parameter.requires_grad:
                dense.setdefault(parameter.dtype, []).append(parameter)
        for alike in dense.values():
            there = torch.tensor([float(p.grad is not None) for p in alike]).to(alike[0])
            own = [torch.zeros_like(p) if p.grad is None else p.grad for p in alike]
            mean = self.sum(torch.cat([there, *(x.flatten() for x in own)])) / self.size
            there, *gradients = mean.split([len(alike), *(p.numel() for p in alike)])
            for parameter, any_has, gradient in zip(alike, there.tolist(), gradients, strict=True):
                parameter.grad = gradient.view_as(parameter) if any_has else None

    def _mean_of_sparse(self, gradient: Tensor) -> Tensor:
        """Mean of gradients of a few rows each; names every row once."""
        gradient = gradient.coalesce()
        ids, rows = gradient.indices()[0], gradient.values()
        lengths = ids.new_zeros(self.size)
        lengths[self.rank] = len(ids)
        ends = self.sum(lengths).cumsum(0).tolist()
        here = slice(ends[self.rank] - len(ids), ends[self.rank])
        all_ids, all_rows = ids.new_zeros(ends[-1]), rows.new_zeros(ends[-1], *rows.shape[1:])
        all_ids[here], all_rows[here] = ids, rows / self.size
        all_ids, all_rows = self.sum(all_ids), self.sum(all_rows)
        return torch.sparse_coo_tensor(
            all_ids.unsqueeze(0), all_rows, gradient.shape, check_invariants=False
        ).coalesce()

    def average(self, columns: Mapping[str, Sequence[float]]) -> Mapping[str, Sequence[float]]:
        """Means of columns of numbers, which have the same names and lengths everywhere."""
        if self.size == 1:
            return columns
        values = [value for column in columns.values() for value in column]
        mean = self.sum(torch.tensor(values, dtype=torch.float64)) / self.size
        parts = mean.split([len(column) for column in columns.values()])
        return {name: part.tolist() for name, part in zip(columns, parts, strict=True)}

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors with those of the first process."""
        if self.size > 1:
            with in_touch(), torch.no_grad():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)

    def require_equal(self, modules: nn.Module, epoch: int) -> None:
        """Break off when what the processes keep has come apart in epoch `epoch`.

        Raises:
            RunError: the states of the modules differ, or those of torch's generators.
        """
        if self.size == 1:
            return
        digest = 0
        for kept in (*modules.state_dict().values(), torch.get_rng_state()):
            digest = zlib.crc32(kept.cpu().reshape(-1).view(torch.uint8).numpy(), digest)
        digests = torch.zeros(self.size, dtype=torch.int64)
        digests[self.rank] = digest
        if len(self.sum(digests).unique()) > 1:
            raise RunError(
                f"the {self.size} processes came apart in epoch {epoch}: a part of the model draws "
                "or remembers something that does not follow from its arguments and torch's "
                "generator; train in one process"
            )

    @contextmanager
    def first_ahead(self) -> Iterator[None]:
        """Let the first process go through the block before the others do."""
        if not self.first:
            self.sum(torch.zeros(1))
        yield
        if self.first:
            self.sum(torch.zeros(1))


ALONE = Team()
"""One process."""


class _Gather(torch.autograd.Function):
    """Rows of all processes; backward adds up what each of them wants of a process's own rows.

    A sum and no mean: only the owner of a row carries it on to the parameters, and the mean of
    their gradients is taken then.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, n: int, team: Team) -> Tensor:
        ctx.n, ctx.team = n, team
        everyone = rows.new_zeros(n, *rows.shape[1:])
        everyone[team.part(n)] = rows
        return team.sum(everyone)

    @staticmethod
    @first_order
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        wanted = ctx.team.sum(upstream.clone())
        return wanted[ctx.team.part(ctx.n)], None, None


@contextmanager
def in_touch() -> Iterator[None]:
    """Say what it means that an exchange with the other processes failed."""
    try:
        yield
    except RuntimeError as error:
        raise RunError(
            "another process of this training was lost: it ended or was killed; continue with "
            "--resume"
        ) from error
