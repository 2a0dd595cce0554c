"""What surrounds a training: where it is kept, who looks on, who takes part."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .team import ALONE, Team

Row = dict[str, Any]


@dataclass(frozen=True)
class RunContext:
    """Nothing in it but `moments` and `seen` changes what a training computes.

    Attributes:
        folder: run folder for checkpoint, best weights and history; None keeps all in memory.
        resume: go on from the checkpoint in `folder`, if there is one.
        fingerprint: identifies configuration and data, to refuse the checkpoint of another run.
        former: fingerprints that earlier versions gave the same run.
        progress: show a bar over epochs.
        on_epoch: called with the history row after each epoch, in the first process.
        team: the processes that train together, see `training.distributed`; each calls `fit` with
            the same arguments and gets the same result, and the first one writes and shows.
        moments: of Adam, by the name of the parameter in `backbone.` or `alignment.`, from which to
            go on; None begins without any.
        seen: `(n_pairs,)` bool, which training pairs an earlier run was trained on, for
            `training.replay`; None without one.
        title: what the bar is called; the class of the backbone if empty.
    """

    folder: str | os.PathLike[str] | None = None
    resume: bool = False
    fingerprint: str = ""
    progress: bool = True
    on_epoch: Callable[[Row], None] | None = None
    team: Team = ALONE
    moments: Mapping[str, Mapping[str, Tensor]] | None = None
    seen: Tensor | None = None
    title: str = ""
    former: tuple[str, ...] = ()
