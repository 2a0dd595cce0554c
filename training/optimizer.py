"""Adam, and Adam that leaves alone the rows of a table that a batch does not read."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .options import TrainingOptions

Block = tuple[Tensor, Tensor]
"""Ids `(n,)` and gradients `(n, dim)` of some rows."""

ROWS_IN_CACHE = 1024
"""Rows that a thread updates at a time, so that its temporaries never leave the cache."""


class LazyAdam(torch.optim.Adam):
    """Adam for dense gradients; for a sparse one, Adam on the rows that it names.

    A row without a gradient keeps its value and both moments. Adam would let its moments decay and
    move it along them for some ten further steps, which is most of what it moves a rare row: a
    lazily trained rare row is moved less, and wants a higher learning rate. Bias is corrected by
    the steps of the table, as in `torch.optim.SparseAdam` (which adds epsilon before that, not
    after). Weight decay acts on the rows of the step alone. A table all of whose rows are read in
    every step is trained as by Adam.
    """

    def step(self, closure: Any = None) -> Any:
        """One update; every row of a sparse gradient must be named once."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None and table.grad.is_sparse:
                    self._update_rows(table, table.grad, group)
                    table.grad = None
        return super().step(closure)

    @torch.no_grad()
    def _update_rows(self, table: Tensor, sparse: Tensor, group: dict[str, Any]) -> None:
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=table.device)
            state["exp_avg"] = torch.zeros_like(table)
            state["exp_avg_sq"] = torch.zeros_like(table)
        state["step"] += 1
        ids, gradient = sparse._indices()[0], sparse._values()
        if table.is_cuda:
            self._update_block(table, ids, gradient, group)
            return
        blocks = zip(ids.split(ROWS_IN_CACHE), gradient.split(ROWS_IN_CACHE), strict=True)
        _on_all_threads(lambda block: self._update_block(table, *block, group), list(blocks))

    @torch.no_grad()
    def _update_block(
        self, table: Tensor, ids: Tensor, gradient: Tensor, group: dict[str, Any]
    ) -> None:
        state, (beta1, beta2) = self.state[table], group["betas"]
        tables = (table, state["exp_avg"], state["exp_avg_sq"])
        rows, mean, square = (take_rows(every, ids) for every in tables)
        torch._fused_adam_(
            [rows],
            [gradient],
            [mean],
            [square],
            [],
            [state["step"]],
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )
        for every, part in zip(tables, (rows, mean, square), strict=True):
            put_rows(every, ids, part)


def take_rows(table: Tensor, ids: Tensor) -> Tensor:
    """`table[ids]`; on a CPU numpy takes less time for it than torch."""
    if table.device.type == "cpu":
        return torch.from_numpy(table.detach().numpy().take(ids.numpy(), axis=0))
    return table.detach().index_select(0, ids)


def put_rows(table: Tensor, ids: Tensor, rows: Tensor) -> None:
    """`table[ids] = rows` of distinct ids; on a CPU by numpy too."""
    if table.device.type == "cpu":
        table.detach().numpy()[ids.numpy()] = rows.numpy()
    else:
        table.detach().index_copy_(0, ids, rows)


def _on_all_threads(work: Callable[[Block], None], blocks: Sequence[Block]) -> None:
    """`work` on every block, by as many threads as torch has, each of which calls torch alone.

    Rows that lie far apart are waited for most of the time: two threads wait for twice as many.
    """
    n = torch.get_num_threads()

    def run(blocks: Sequence[Block]) -> None:
        for block in blocks:
            work(block)

    if n == 1 or len(blocks) < n:
        run(blocks)
        return
    # A thread that torch did not start would start a team of its own for every call.
    try:
        with ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            deque(pool.map(run, (blocks[first::n] for first in range(n))), maxlen=0)
    finally:
        torch.set_num_threads(n)  # it was set for threads to come as well


def make_optimizer(
    parameters: Iterable[nn.Parameter], options: TrainingOptions
) -> torch.optim.Optimizer:
    """Adam or AdamW, lazy if asked for, as one fused kernel where this torch has it."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    kind = torch.optim.AdamW if options.decoupled_weight_decay else torch.optim.Adam
    adam = functools.partial(
        LazyAdam if options.lazy_embeddings else kind,
        trained,
        lr=options.learning_rate,
        weight_decay=options.weight_decay,
    )
    try:
        return adam(fused=True)
    except RuntimeError as error:  # torch before 2.4 has no fused Adam for CPU
        if options.lazy_embeddings:
            raise ConfigError(
                "option 'training.lazy_embeddings' needs torch 2.4 or newer: update torch, or set "
                "it to false"
            ) from error
        return adam()


def take_moments(
    optimizer: torch.optim.Optimizer,
    modules: nn.Module,
    moments: Mapping[str, Mapping[str, Tensor]],
) -> None:
    """Let an optimiser that `make_optimizer` made of `modules` go on from these moments.

    Args:
        optimizer: changed in place.
        modules: what it trains.
        moments: name of a parameter -> `step`, `exp_avg` and `exp_avg_sq`.
    """
    trained = [name for name, p in modules.named_parameters() if p.requires_grad]
    state = {n: dict(moments[name]) for n, name in enumerate(trained) if name in moments}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
