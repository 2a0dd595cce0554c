"""What a run leaves on disk, so that nothing is lost when it is killed.

`checkpoint.pt` holds everything that the next epoch depends on: a run that is killed at any moment
and resumed gives, on a CPU, the same history bit for bit as one that was never interrupted. It
contains tensors, numbers and strings only, and is read with torch's restricted unpickler.
`model.safetensors` holds the weights of the best epoch. Both are replaced atomically, and checked
before they are used. A checkpoint is written before anything else: a folder with weights and none
has lost it, and is not begun anew unless somebody asks for it.
"""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checksums import DAMAGED, read_tensors, require_sound_archive, tensor_bytes
from ..errors import RunError
from ..fileio import atomic_path, write_text
from ..run_files import CHECKPOINT_FILE, HISTORY_FILE, TIMINGS_FILE, WEIGHTS_FILE
from .checked_state import require_moments, require_weights, training_state
from .checkpoint_file import VERSION, first_line, read_checkpoint, refuse_lost_checkpoint
from .precision import GradScaler
from .state import TrainingState


class Checkpoint:
    """What a training writes into its folder, and how it goes on from there.

    Args:
        folder: created when the first file is written.
        modules: what is trained.
        optimizer: its optimiser.
        rngs: purpose -> generator of the run.
        fingerprint: identifies configuration and data; a checkpoint with another one is refused.
            Or several: the first is written, and all are taken.
        scaler: of the loss; None where none is needed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        modules: nn.Module,
        optimizer: torch.optim.Optimizer,
        rngs: Mapping[str, torch.Generator],
        fingerprint: str | Sequence[str] = "",
        scaler: GradScaler | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.modules = modules
        self.optimizer = optimizer
        self.rngs = rngs
        known = (fingerprint,) if isinstance(fingerprint, str) else tuple(fingerprint)
        self.fingerprint, self.former = known[0], known[1:]
        self.scaler = scaler or GradScaler(enabled=False)

    @property
    def file(self) -> Path:
        """Path of what a killed run goes on from."""
        return self.folder / CHECKPOINT_FILE

    def save(self, state: TrainingState, *, improved: bool, due: bool) -> None:
        """Write what the last epoch brought; history last, since resuming rewrites it."""
        if improved:
            self.save_weights(state)
        if due:
            self.save_checkpoint(state)
        self.append_rows(state)

    def save_weights(self, state: TrainingState) -> None:
        """Write the best weights to `model.safetensors`."""
        raw = tensor_bytes(state.best_weights, {"epoch": str(state.best_epoch)})
        with atomic_path(self.folder / WEIGHTS_FILE) as temporary:
            temporary.write_bytes(raw)

    def save_checkpoint(self, state: TrainingState) -> None:
        """Write everything that the next epoch depends on."""
        values = {f.name: getattr(state, f.name) for f in fields(state)}
        if state.best_metrics is not None:
            values["best_metrics"] = asdict(state.best_metrics)
        content = {
            "version": VERSION,
            "fingerprint": self.fingerprint,
            "modules": self.modules.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rngs": self._rng_states(),
            "state": values,
        }
        buffer = io.BytesIO()  # torch.save hides a full disk behind a RuntimeError of its own
        torch.save(content, buffer)
        with atomic_path(self.file) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def append_rows(self, state: TrainingState) -> None:
        """Add the last epoch's rows to the history and the timings."""
        for name, rows in ((HISTORY_FILE, state.history), (TIMINGS_FILE, state.timings)):
            try:
                with (self.folder / name).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
            except OSError as error:
                raise RunError(
                    f"cannot write {self.folder / name}: {error.strerror}; mend that, then resume"
                ) from error

    def start(self) -> TrainingState:
        """Begin a new run in this folder.

        Raises:
            RunError: the folder already holds a run, or what is left of one.
        """
        if self.file.exists():
            raise RunError(
                f"{self.folder} already holds a run: resume it, or choose another folder"
            )
        refuse_lost_checkpoint(self.folder)
        state = TrainingState()
        self.save_checkpoint(state)
        self._rewrite_rows(state)
        return state

    def resume(self) -> TrainingState:
        """Go on where the checkpoint was written; where no run was begun yet, begin.

        Raises:
            RunError: the checkpoint is lost or damaged, or belongs to another configuration or data
                set.
        """
        if not self.file.exists():
            return self.start()
        content = read_checkpoint(self.folder, (self.fingerprint, *self.former))
        try:
            self._take(content)
            state = training_state(content["state"])
        except (RuntimeError, AttributeError, *DAMAGED) as error:
            raise RunError(
                f"{self.file} holds another model ({first_line(error)}): resume with the "
                "settings it was started with, or choose another folder"
            ) from error
        # the files may be ahead of the checkpoint
        self._rewrite_rows(state)
        if state.best_weights:
            self.save_weights(state)
        if content["fingerprint"] != self.fingerprint:
            self.save_checkpoint(state)
        return state

    def _take(self, content: Mapping[str, Any]) -> None:
        """Load what the checkpoint says into modules, optimiser and generators, once checked.

        Hyper-parameters are those of the options; the optimiser's moments must fit its parameters,
        since its kernels would read past the end of others.
        """
        require_weights(content["modules"], self.modules)
        if content["state"]["best_weights"]:
            require_weights(content["state"]["best_weights"], self.modules)
        own, moments = self.optimizer.state_dict(), content["optimizer"]["state"]
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        require_moments(moments, parameters)
        self.modules.load_state_dict(content["modules"])
        self.optimizer.load_state_dict({**own, "state": moments})
        self.scaler.load_state_dict(content.get("scaler", {}))  # none in older checkpoints
        self._set_rng_states(content["rngs"])

    def _rewrite_rows(self, state: TrainingState) -> None:
        for name, rows in ((HISTORY_FILE, state.history), (TIMINGS_FILE, state.timings)):
            write_text(self.folder / name, "".join(json.dumps(row) + "\n" for row in rows))

    def _rng_states(self) -> dict[str, Any]:
        states: dict[str, Any] = {name: rng.get_state() for name, rng in self.rngs.items()}
        used = torch.cuda.is_initialized()
        cuda = torch.cuda.get_rng_state() if used else None
        return {"own": states, "torch": torch.get_rng_state(), "cuda": cuda}

    def _set_rng_states(self, states: Mapping[str, Any]) -> None:
        for name, rng in self.rngs.items():
            rng.set_state(states["own"][name])
        torch.set_rng_state(states["torch"])
        if states["cuda"] is not None and torch.cuda.is_initialized():
            torch.cuda.set_rng_state(states["cuda"])


def _weights_file(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    return path / WEIGHTS_FILE if path.is_dir() else path


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The weights that a run left in `model.safetensors`, by their names.

    Args:
        path: the file, or the run folder.

    Raises:
        RunError: the file is missing or damaged.
    """
    path = _weights_file(path)
    if not path.is_file():
        raise RunError(f"{path} does not exist: give the folder of a run that finished an epoch")
    try:
        return read_tensors(path)
    except DAMAGED as error:
        raise RunError(
            f"{path} is damaged ({first_line(error)}): copy it again, or train again"
        ) from error


def read_moments(folder: str | os.PathLike[str]) -> dict[int, dict[str, Tensor]]:
    """Adam's moments in the checkpoint of a run, by the number of the trained parameter.

    Raises:
        RunError: the checkpoint is missing or damaged.
    """
    file = Path(folder) / CHECKPOINT_FILE
    if not file.is_file():
        raise RunError(f"{file} does not exist: it holds the moments of the run; put it back")
    try:
        require_sound_archive(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
        moments: dict[int, dict[str, Tensor]] = content["optimizer"]["state"]
        for state in moments.values():
            if not {"step", "exp_avg", "exp_avg_sq"} <= state.keys():
                raise ValueError("its moments are not Adam's")
    except (*DAMAGED, RuntimeError, pickle.UnpicklingError) as error:
        raise RunError(f"{file} is damaged ({first_line(error)}): put back a copy") from error
    return moments


def load_weights(
    path: str | os.PathLike[str], backbone: nn.Module, alignment: nn.Module | None = None
) -> None:
    """Load the weights that a run left in `model.safetensors`.

    Args:
        path: the file, or the run folder.
        backbone: receives its weights in place.
        alignment: likewise; its weights in the file are ignored if this is None.

    Raises:
        RunError: the file is missing or damaged, or holds weights of another model.
    """
    path = _weights_file(path)
    weights = read_weights(path)
    for prefix, module in (("backbone.", backbone), ("alignment.", alignment)):
        if module is not None:
            own = {n[len(prefix) :]: t for n, t in weights.items() if n.startswith(prefix)}
            try:
                module.load_state_dict(own)
            except RuntimeError as error:
                raise RunError(
                    f"{path} holds another model ({first_line(error)}): build the model with the "
                    "settings of that run"
                ) from error
