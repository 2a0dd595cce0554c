"""Layers of a backbone, compiled to fewer and larger kernels by `torch.compile`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from ..errors import ConfigError
from ..graphs.adjacency import Adjacency
from ..graphs.sparse_pattern import SparsePattern
from ..models.linear import TableLinear


def compile_layers(
    backbone: nn.Module, device: torch.device, backend: str = "inductor"
) -> list[nn.Module]:
    """Compile the parts of `backbone` that are several layers and nothing else, in place.

    Sparse products and the losses with their own gradients stay as they are: the compiler cannot
    see into them. On a CPU so do layers over whole tables, which have faster products than it.

    Args:
        backbone: its weights and their names do not change.
        device: where it computes.
        backend: of `torch.compile`.

    Returns:
        What was compiled.

    Raises:
        ConfigError: there is nothing to compile, or nothing to compile with.
    """
    parts = [part for child in backbone.children() for part in dense_parts(child, device)]
    if not parts:
        raise ConfigError(
            f"option 'training.compile' has no effect: {type(backbone).__name__} has no parts of "
            f"several layers to compile on {device.type}; leave it out"
        )
    if backend == "inductor":
        require_compiler(device)
    for part in parts:
        part.compile(backend=backend, dynamic=True)
    return parts


def dense_parts(module: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """The largest parts of `module` with several layers and without what must stay as it is."""
    kept = (Adjacency, SparsePattern, *((TableLinear,) if device.type == "cpu" else ()))
    mixed = any(isinstance(part, kept) for part in module.modules())
    if mixed or isinstance(module, (nn.ModuleDict, nn.ModuleList)):
        for child in module.children():
            yield from dense_parts(child, device)
    elif any(True for _ in module.parameters()) and any(True for _ in module.children()):
        yield module


def require_compiler(device: torch.device) -> None:
    """Compile next to nothing, to see whether it can be done at all.

    Raises:
        ConfigError: it cannot, which torch would otherwise say in the first step, at length.
    """
    try:
        torch.compile(torch.neg)(torch.ones(2, device=device))
    except Exception as error:  # torch has many, and not all are public
        tool = "a C++ compiler (g++) and Python's headers" if device.type == "cpu" else "Triton"
        raise ConfigError(
            f"option 'training.compile' cannot be used here ({type(error).__name__}): install "
            f"{tool}, or leave it out"
        ) from error
