"""A small training on two hosts of this machine, whose processes can be told from all others."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

SETTINGS = ("backbone.dim=8", "training.batch_size=256", "training.learning_rate=0.02")
SETTINGS += ("training.patience=1000", "alignment.n_prototypes=16")
MARK = "CROSSALIGN_MARK"


class Run:
    """One `crossalign train` on two hosts.

    Args:
        folder: where everything of this run goes.
        parts: folder with partitions into `1` and `2`.
        epochs: that it trains.
    """

    def __init__(self, folder: Path, parts: Path, epochs: int) -> None:
        self.folder = folder
        self.parts = parts
        self.epochs = epochs
        self.temporary = folder / "tmp"
        self.run_folder = folder / "run"
        self.temporary.mkdir(parents=True)

    def start(self, *, resume: bool = False, hosts: int = 2) -> subprocess.Popen[str]:
        """Start it, or let it go on; its processes carry a new mark. One host is one process."""
        self.mark = uuid.uuid4().hex
        command = [sys.executable, "-m", "crossalign", *self._train(hosts, resume=resume)]
        own = {MARK: self.mark, "TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*command, *(["--hosts", f"local:{hosts}"] if hosts > 1 else [])],
            env=os.environ | own,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )

    def _train(self, parts: int, *, resume: bool) -> list[str]:
        place = ["--resume" if resume else "--out", str(self.run_folder)]
        command = ["train", "--parts", str(self.parts / f"{parts}"), "--quiet", *place]
        settings: Sequence[str] = () if resume else SETTINGS
        for setting in (*settings, f"training.epochs={self.epochs}"):
            command += ["--set", setting]
        return command + ([] if resume else ["--backbone", "lightgcn", "--alignment", "cross"])

    def processes(self) -> dict[int, Mapping[str, str]]:
        """Id -> environment of every living process of the last start."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and (own := _environment(entry)).get(MARK) == self.mark:
                found[int(entry.name)] = own
        return found

    def epoch(self) -> int:
        """Epochs that it has written."""
        history = self.run_folder / "history.jsonl"
        return history.read_text().count("\n") if history.exists() else 0


def _environment(process: Path) -> dict[str, str]:
    """Of an entry of /proc; empty for what has ended, and for the kernel's own."""
    try:
        held = (process / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in held.split("\0") if "=" in line)
