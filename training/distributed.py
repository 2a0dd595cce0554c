"""Training by several processes on one machine, started by torchrun.

All processes draw the same epoch from the same seed, and keep the same model and optimiser. Each
does its part of the work of a step, and the step's gradient is the mean of theirs:

- on the whole graph, every process propagates, and takes the backbone's loss of the whole batch;
- with sampled blocks, a process computes the representations of its part of the batch's distinct
  nodes and is given the others; the backbone's loss is again that of the whole batch;
- the alignment's terms are those of the whole batch as well; with `gather=False`, those of the
  process's part of its pairs, weighted by their number, and contrasts see fewer rows;
- in evaluation, each process ranks for every n-th block of users.

Processes hand each other representations and not losses, because hardly any loss is a mean over
pairs: norms of a batch's rows, contrasts and balanced codes are not. So a run does not depend on
the number of processes, but for rounding and for draws of neighbours.

Gradients are averaged by `Team.average_gradients` in place of torch's DistributedDataParallel.
That wraps the forward of one module, while a step calls several; it does not take the sparse
gradients of lazily trained tables; and sending gradients while others are computed would gain
nothing, since nearly all of them belong to embedding tables, complete when the backward pass is.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import ConfigError
from ..evaluation.ranking import Evaluator
from ..evaluation.scores import BlockScorer
from ..tensors.representations import Representations
from ..torchrun import n_processes, speaks
from .checkpoint import Checkpoint
from .state import TrainingState
from .team import ALONE, Team, in_touch


@contextmanager
def started_team(device: torch.device) -> Iterator[Team]:
    """The processes that torchrun started, in touch with each other; `ALONE` if it started none.

    Args:
        device: where to compute; each process takes the GPU of its number.

    Raises:
        ConfigError: there are fewer GPUs than processes, or several machines.
        RunError: another process was lost.
        KeyboardInterrupt: torchrun ends this process, because of another one or on request.
    """
    size = n_processes()
    if size == 1:
        yield ALONE
        return
    if int(os.environ["LOCAL_WORLD_SIZE"]) != size:
        raise ConfigError("crossalign trains on one machine: start torchrun without --nnodes")
    if device.type == "cuda":
        if torch.cuda.device_count() < size:
            raise ConfigError(
                f"{size} processes for {torch.cuda.device_count()} GPUs: lower --nproc-per-node, "
                "or set training.device to cpu"
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    with in_touch():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    # torchrun ends the processes that are left by SIGTERM. They leave as by Ctrl-C: with a word.
    usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield Team(dist.get_rank(), size, device)
    except BaseException:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this process is leaving already
        speaks()  # before the others see this process leave
        raise
    else:
        signal.signal(signal.SIGTERM, usual)
    finally:
        dist.destroy_process_group()


class SharedEvaluator(Evaluator):
    """Each process ranks for every n-th block of users; ranks are whole numbers, so sums are exact.

    Args:
        team: the processes.
        arguments: those of `Evaluator`.
    """

    def __init__(self, team: Team, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.team = team

    def ranks(
        self, representations: Representations | BlockScorer, *, progress: bool = False
    ) -> Tensor:
        """As in `Evaluator`; all processes must call it."""
        return self.team.sum(super().ranks(representations, progress=progress))

    def _block_ranks(self, scorer: BlockScorer, first: int, buffers: Tensor) -> Tensor:
        rows = buffers.shape[1]
        if first // rows % self.team.size == self.team.rank:
            return super()._block_ranks(scorer, first, buffers)
        n_targets = int(self.counts[first : first + rows].sum())
        return torch.zeros(n_targets, dtype=torch.int64)


class OthersCheckpoint(Checkpoint):
    """That of all processes but the first: they read it and write nothing."""

    def save(self, state: TrainingState, *, improved: bool, due: bool) -> None:
        """Left to the first process."""

    def save_weights(self, state: TrainingState) -> None:
        """Left to the first process."""

    def save_checkpoint(self, state: TrainingState) -> None:
        """Left to the first process."""

    def start(self) -> TrainingState:
        """Begin, where the first process has begun already."""
        return TrainingState()

    def _rewrite_rows(self, state: TrainingState) -> None:
        """Left to the first process."""
