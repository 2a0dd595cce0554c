"""The orthonormal cosine transform of rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .functional import full_precision, widened


@full_precision
def inverse_cosine_transform(rows: Tensor) -> Tensor:
    """`C^T y` of every row y, `(n, d)`, with the orthonormal DCT-II `C`; differentiable.

    `C_kn = s_k cos(pi (2 n + 1) k / 2 d)` with `s_0 = sqrt(1 / d)` and else `s_k = sqrt(2 / d)`.
    C is orthogonal, so this undoes it. For a linear map w of transformed features it gives the one
    of the features themselves: `w . (C x) = (C^T w) . x`.

    Source: Makhoul, "A fast cosine transform in one and two dimensions", 1980; one FFT of d.

    Args:
        rows: `(n, d)`, d at least 1.
    """
    rows = widened(rows)
    d = rows.shape[1]
    half = d // 2 + 1
    order = torch.arange(half, dtype=rows.dtype, device=rows.device)
    angle = order * (math.pi / (2 * d))
    scale = torch.full_like(order, math.sqrt(d / 2))
    scale[0] = math.sqrt(d)
    # Beside the k-th stands the (d - k)-th, and 0 for k = 0.
    mirrored = torch.cat([torch.zeros_like(rows[:, :1]), rows.flip(1)[:, : half - 1]], dim=1)
    spectrum = torch.complex(rows[:, :half], -mirrored) * torch.polar(scale, angle)
    line = torch.fft.irfft(spectrum, n=d)
    n_even = (d + 1) // 2
    ends = line[:, :n_even], line.flip(1)[:, :n_even]
    return torch.stack(ends, dim=2).flatten(1)[:, :d]
