"""The numeric core: unit rows, and losses whose gradient is formed while their value is.

A contrastive loss over `n` rows needs an `(n, n)` matrix of exponentials, and autograd would keep
several of them. Here the matrix exists one block of rows at a time, small enough to stay in the
processor's cache, and the block's share of the gradient is taken before it is overwritten. What
is left for the backward pass is one multiplication by the incoming scalar.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .ids import at_hand
from .products import add_product, product, whole_tiles

Function = TypeVar("Function", bound=Callable[..., Any])

EPS = 1e-12
"""Rows shorter than this count as zero rows."""

LOG2_E = 1.0 / math.log(2.0)

SAFE_LOGIT = 60.0
"""Sums of `exp(logit)` stay inside the float32 range up to this size, so need no shift."""

_CELLS = {"cpu": 1 << 20}
_CELLS_ELSEWHERE = 1 << 25


def widened(x: Tensor) -> Tensor:
    """`x`, in float32 if it has 16 bits: too few for norms, exponentials and long sums."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def full_precision(function: Function) -> Function:
    """Run a function or method outside autocast, on the device of its first tensor."""

    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        tensors = (x for x in (*args, *options.values()) if isinstance(x, Tensor))
        device = next((x.device.type for x in tensors), None)
        if device not in ("cpu", "cuda"):
            return function(*args, **options)
        with torch.autocast(device, enabled=False):
            return function(*args, **options)

    return run  # type: ignore[return-value]


def first_order(backward: Function) -> Function:
    """A `backward` that says that it has no derivative, where torch would take it for constant.

    torch's own `once_differentiable` lets a second derivative be zero without a word where the
    incoming gradient needs none, as that of a loss.
    """
    once = once_differentiable(backward)

    @functools.wraps(backward)
    def run(ctx: Any, *upstream: Any) -> Any:
        if torch.is_grad_enabled():  # create_graph=True
            raise NotImplementedError(
                "no second derivative: this gradient is formed together with its value; leave "
                "out create_graph=True"
            )
        return once(ctx, *upstream)

    return run  # type: ignore[return-value]


class _KnownGradient(torch.autograd.Function):
    """A scalar of some inputs whose gradients were computed beforehand."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, gradients: Sequence[Tensor | None], *inputs: Tensor
    ) -> Tensor:
        ctx.save_for_backward(*gradients)
        return value.clone()

    @staticmethod
    @first_order
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (None if grad is None else grad * upstream for grad in ctx.saved_tensors)
        return (None, None, *scaled)


def known_gradient(
    value: Tensor, inputs: Sequence[Tensor], gradients: Sequence[Tensor | None]
) -> Tensor:
    """Tie a scalar to its inputs by gradients that are already known.

    Args:
        value: scalar, detached.
        inputs: tensors the scalar depends on.
        gradients: derivative of `value` with respect to each input, or None for no gradient.
    """
    return _KnownGradient.apply(value, tuple(gradients), *inputs)


def row_blocks(n_rows: int, width: int, device: torch.device) -> Iterator[slice]:
    """Slices of rows such that a block of `(rows, width)` stays in the cache of the device.

    All but the last have the same power-of-two length.
    """
    cells = _CELLS.get(device.type, _CELLS_ELSEWHERE)
    step = 1 << max((cells // max(width, 1)).bit_length() - 1, 0)
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


class _UnitRows(torch.autograd.Function):
    """Rows scaled to length one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = length.clamp_min(EPS).reciprocal_()
        unit = x * scale
        ctx.save_for_backward(unit, scale.masked_fill_(length <= EPS, 0.0))
        return unit

    @staticmethod
    @first_order
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        unit, scale = ctx.saved_tensors
        along = (unit * upstream).sum(-1, keepdim=True)
        return torch.addcmul(upstream, unit, along, value=-1).mul_(scale)


def unit_rows(x: Tensor) -> Tensor:
    """Rows of `x` `(..., dim)` scaled to length one, in float32 at least.

    A zero row stays and gets no gradient.
    """
    return _UnitRows.apply(widened(x))


@full_precision
def log_partition(
    anchors: Tensor,
    candidates: Tensor,
    temperature: Tensor,
    weights: Tensor | None = None,
    visit: Callable[[slice, Tensor], None] | None = None,
    *,
    allowed: Tensor | None = None,
    bounded: bool = True,
) -> Tensor:
    """Weighted sum of log-partition functions, `sum_i w_i log sum_j exp(a_i c_j / t)`.

    The expensive part of every contrastive and clustering loss here.

    Args:
        anchors: `(n, dim)` unit rows.
        candidates: `(m, dim)` unit rows; detach them to let only the anchors move.
        temperature: positive scalar; differentiable.
        weights: `(n,)` constants, by default all one.
        visit: called with every block of anchors and its base-two logits `a c log2(e) / t`,
            `(block, m)`, which it may read until it returns; rows from `n` on are padding.
        allowed: `(m,)` bool, candidates that take part, by default all; where none does, weights
            must be 0.
        bounded: False where rows have any length, so that exponentials need a shift.

    Returns:
        Scalar, 0 when there are no anchors.
    """
    inputs = (anchors, candidates, temperature)
    needs = [torch.is_grad_enabled() and x.requires_grad for x in inputs]
    shifted = not bounded or allowed is not None or _may_overflow(temperature.detach())
    with torch.no_grad():
        forbidden = None if allowed is None else ~allowed
        value, gradients = _log_partition(inputs, weights, visit, needs, shifted, forbidden)
    return known_gradient(value, inputs, gradients)


def _may_overflow(temperature: Tensor) -> bool:
    """Whether exponentials of cosines need a shift; elsewhere than on a CPU they always get it.

    To read a number from a GPU takes longer than to shift: the host would wait for it.
    """
    return not at_hand(temperature) or float(temperature) * SAFE_LOGIT < 1.0


def _log_partition(
    inputs: tuple[Tensor, Tensor, Tensor],
    weights: Tensor | None,
    visit: Callable[[slice, Tensor], None] | None,
    needs: list[bool],
    shifted: bool,
    forbidden: Tensor | None,
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Value of `log_partition` and its gradients, block by block."""
    anchors, candidates, temperature = (x.detach() for x in inputs)
    n, m = len(anchors), len(candidates)
    # Base two, because torch's exp2 is several times faster than its exp on most CPUs.
    scaled = whole_tiles(anchors * (LOG2_E / temperature))
    candidates = whole_tiles(candidates)
    weights = anchors.new_ones(n) if weights is None else weights
    padded_weights = whole_tiles(weights).unsqueeze(1)
    logs = scaled.new_empty(len(scaled), 1)
    to_anchors = torch.zeros_like(scaled)
    # Transposed, which is the faster order of the product that fills it.
    to_candidates = candidates.new_zeros(candidates.shape[::-1])
    for block in row_blocks(len(scaled), len(candidates), anchors.device):
        logits = product(scaled[block], candidates.T)
        if visit is not None:
            visit(block, logits[:, :m])
        logits[:, m:] = -torch.inf
        if forbidden is not None:
            # Finite, so that rows without any candidate stay so.
            logits[:, :m].masked_fill_(forbidden, torch.finfo(logits.dtype).min / 4)
        top = logits.amax(1, keepdim=True) if shifted else logits.new_zeros(())
        masses = (logits.sub_(top) if shifted else logits).exp2_()
        total = masses.sum(1, keepdim=True)
        logs[block] = total.log() + top / LOG2_E
        share = padded_weights[block] / total
        if needs[0] or needs[2]:
            torch.mul(product(masses, candidates), share, out=to_anchors[block])
        if needs[1]:
            add_product(to_candidates, (scaled[block] * share).T, masses)
    to_anchors = to_anchors[:n] / temperature
    to_candidates = to_candidates[:, :m].T / LOG2_E
    # The logits depend on anchors / temperature alone, so this derivative is known (Euler).
    to_temperature = -(to_anchors * anchors).sum() / temperature
    gradients = (to_anchors, to_candidates, to_temperature)
    wanted = (grad if need else None for grad, need in zip(gradients, needs, strict=True))
    return weights @ logs[:n, 0], tuple(wanted)


def contrastive_sum(
    anchors: Tensor,
    candidates: Tensor,
    positives: Tensor,
    temperature: Tensor,
    weights: Tensor | None = None,
    *,
    allowed: Tensor | None = None,
    bounded: bool = True,
) -> Tensor:
    """Weighted sum over anchors of the cross-entropy of picking the positive among all candidates.

    `-sum_i w_i log( exp(a_i c_p(i) / t) / sum_j exp(a_i c_j / t) )`, the InfoNCE loss.

    Args:
        anchors: `(n, dim)` unit rows.
        candidates: `(m, dim)` unit rows; detach them to let only the anchors move.
        positives: `(n,)` int64, the row of `candidates` each anchor belongs to.
        temperature: positive scalar; differentiable.
        weights: `(n,)` constants, by default all one; 0 where the positive is not allowed.
        allowed: `(m,)` bool, candidates that take part, by default all.
        bounded: False where rows have any length.

    Returns:
        Scalar, 0 when there are no anchors.
    """
    matched = (anchors * candidates.index_select(0, positives)).sum(1)
    if weights is not None:
        matched = matched * weights
    normaliser = log_partition(
        anchors, candidates, temperature, weights, allowed=allowed, bounded=bounded
    )
    return normaliser - matched.sum() / temperature
