"""The history of a run as TensorBoard shows it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def require_tensorboard() -> None:
    """Raise `ConfigError` if the package that writes the files is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "the package tensorboard is not installed: pip install tensorboard, or "
            "leave --tensorboard out"
        )


@contextmanager
def tensorboard_log(folder: str | os.PathLike[str]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function for `fit(on_epoch=...)` that writes every number of a row as a scalar.

    Its step is the epoch. Of a resumed run, TensorBoard forgets the epochs that are trained again,
    as the history does.

    Args:
        folder: the files lie here; made with the first row.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    require_tensorboard()
    writer: SummaryWriter | None = None

    def write(row: dict[str, Any]) -> None:
        nonlocal writer
        if writer is None:
            writer = _open(folder, first_epoch=row["epoch"])
        for name, value in row.items():
            if name != "epoch":
                writer.add_scalar(name, value, row["epoch"])
        writer.flush()

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


def _open(folder: str | os.PathLike[str], first_epoch: int) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(os.fspath(folder), purge_step=first_epoch)
