"""Checkpoints by part: each trainer writes the rows of its own nodes, by the ids of the data.

So a run can be resumed with another partition and another number of trainers. A checkpoint is a
folder of mapped arrays; `whole.json` names the whole ones and is written when all trainers have
written theirs.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..datasets.arrays import map_array
from ..errors import RunError
from ..evaluation.metrics import Metrics
from ..fileio import atomic_path, read_json, write_text
from ..run_files import PARTS_FOLDER, WEIGHTS_FILE, WHOLE_FILE
from ..training.state import TrainingState
from .cluster import Cluster, Remote
from .folder import NODES, array, files_in
from .modules import Modules
from .tables import RowAdam, blocks

DENSE = "dense.pt"


class PartCheckpoint:
    """What a training on parts keeps in its run folder, which all hosts must see.

    Args:
        folder: run folder.
        modules: what is trained.
        cluster: where.
        optimizers: of what each trainer holds, and of the tables.
        fingerprint: a checkpoint with another one is refused.
    """

    def __init__(
        self,
        folder: Path,
        modules: Modules,
        cluster: Cluster,
        optimizers: tuple[torch.optim.Optimizer, RowAdam],
        fingerprint: str,
    ) -> None:
        self.run_folder = folder
        self.folder = folder / PARTS_FOLDER
        self.modules = modules
        self.cluster = cluster
        self.dense, self.sparse = optimizers
        self.fingerprint = fingerprint
        self.ids = {kind: array(cluster.folder, f"{kind}_ids") for kind in NODES}

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint of the epoch that has ended; all trainers must call it."""
        target = self.folder / f"epoch-{state.epoch}"
        own = target / f"trainer-{self.cluster.team.rank}"
        shutil.rmtree(own, ignore_errors=True)  # of a run that was killed while it wrote
        try:
            own.mkdir(parents=True)
            for kind in NODES:
                first, last = self.cluster.own(kind)
                np.save(own / f"{kind}_ids.npy", self.ids[kind][first:last])
            for name, table in self._tables():
                self._write(own / f"{name}.npy", name, table)
            if self.cluster.team.first:
                self._write_dense(target / DENSE, state)
        except OSError as error:
            raise RunError(
                f"cannot write {own}: {error.strerror or error}; free some space, or choose a "
                "folder that all hosts see"
            ) from error
        self.cluster.barrier()
        if self.cluster.team.first:
            best = f"epoch-{state.best_epoch}"
            known = self._whole() if (self.folder / WHOLE_FILE).exists() else {}
            whole = {name: files for name, files in known.items() if name == best}
            # Folders of a larger team may be left in it; those that count are named.
            team = [f"trainer-{n}" for n in range(self.cluster.team.size)]
            whole[target.name] = {
                name: size
                for name, size in files_in(target).items()
                if name == DENSE or name.split("/")[0] in team
            }
            current = {"epoch": state.epoch, "best": state.best_epoch, "whole": whole}
            write_text(self.folder / WHOLE_FILE, json.dumps(current, indent=1))
            for other in self.folder.glob("epoch-*"):
                if other.name not in whole:
                    shutil.rmtree(other, ignore_errors=True)
        self.cluster.barrier()

    def resume(self) -> TrainingState:
        """Load the last checkpoint; a fresh state if there is none.

        Raises:
            RunError: it is half-written, damaged, or of another configuration.
        """
        if not (self.folder / WHOLE_FILE).exists():
            return TrainingState()
        current = read_json(self.folder / WHOLE_FILE)
        return self.load(int(current["epoch"]), moments=True)

    def load(self, epoch: int, *, moments: bool = False) -> TrainingState:
        """Load the rows of a checkpoint's tables, and what each trainer holds.

        Args:
            epoch: of the checkpoint.
            moments: also the state of the optimisers.
        """
        target = self.folder / f"epoch-{epoch}"
        trainers = self._trainers(target)
        content = self._read_dense(target / DENSE)
        self.modules.load_dense(content["modules"])
        if moments:
            self.dense.load_state_dict(content["optimizer"])
        for name, table in self._tables():
            if moments or name in self.modules.rows.trained:
                for part in trainers:
                    self._read(part, name, table)
        self.cluster.barrier()
        values = content["state"]
        if values["best_metrics"] is not None:
            values["best_metrics"] = Metrics(**values["best_metrics"])
        return TrainingState(**values)

    def join(self, epoch: int) -> None:
        """Write `model.safetensors` of a checkpoint, by the ids of the data; one trainer does it.

        Tables are copied in blocks through mapped files, and never held whole.
        """
        target = self.folder / f"epoch-{epoch}"
        dense = self._read_dense(target / DENSE)["modules"]
        sizes = {"user": self.cluster.parts.n_users, "item": self.cluster.parts.n_items}
        rows = self.modules.rows
        shapes = {
            f"backbone.{name}": (sizes[rows.kinds[name]], table.embedding_dim)
            for name, table in rows.trained.items()
        }
        with atomic_path(self.run_folder / WEIGHTS_FILE) as temporary:
            places = _write_header(temporary, dense, shapes, epoch)
            for name, _table in rows.trained.items():
                full = f"backbone.{name}"
                out = np.memmap(
                    temporary, np.float32, "r+", offset=places[full], shape=shapes[full]
                )
                for part in self._trainers(target):
                    ids = map_array(part / f"{rows.kinds[name]}_ids.npy")
                    held = map_array(part / f"{name}.npy")
                    for block in blocks(0, len(ids)):
                        where = slice(int(block[0]), int(block[-1]) + 1)
                        out[ids[where]] = held[where]
                out.flush()

    def _tables(self) -> Iterator[tuple[str, Remote]]:
        """Every table and its state, by the name of its file."""
        for name, table in self.modules.rows.trained.items():
            yield name, table.weight
            for kind, moment in self.sparse.moments(table.name).items():
                yield f"{name}.{kind}", moment

    def _kind(self, name: str) -> str:
        kinds = self.modules.rows.kinds
        return kinds[name] if name in kinds else kinds[name.rpartition(".")[0]]

    def _write(self, path: Path, name: str, table: Remote) -> None:
        first, last = self.cluster.own(self._kind(name))
        shape = (last - first, *table.shape[1:])
        if last == first:
            np.save(path, np.empty(shape, np.float32))
            return
        out = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        for ids in blocks(first, last):
            out[int(ids[0]) - first : int(ids[-1]) + 1 - first] = table[ids].numpy()
        out.flush()

    def _read(self, part: Path, name: str, table: Remote) -> None:
        """Take from the file of any trainer the rows of this one's nodes."""
        kind = self._kind(name)
        first, last = self.cluster.own(kind)
        places = array(self.cluster.folder, f"{kind}_places")
        ids = map_array(part / f"{kind}_ids.npy")
        held = map_array(part / f"{name}.npy")
        for block in blocks(0, len(ids)):
            where = slice(int(block[0]), int(block[-1]) + 1)
            place = places[ids[where]]
            own = (place >= first) & (place < last)
            if own.any():
                table[torch.from_numpy(place[own])] = torch.from_numpy(held[where][own])

    def _write_dense(self, path: Path, state: TrainingState) -> None:
        values = {field.name: getattr(state, field.name) for field in fields(state)}
        values["best_weights"] = {}  # they are in the checkpoint of their epoch
        if state.best_metrics is not None:
            values["best_metrics"] = asdict(state.best_metrics)
        content = {
            "fingerprint": self.fingerprint,
            "modules": self.modules.dense_state(),
            "optimizer": self.dense.state_dict(),
            "state": values,
        }
        with atomic_path(path) as temporary:
            torch.save(content, temporary)

    def _read_dense(self, path: Path) -> dict[str, Any]:
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            fingerprint = content["fingerprint"]
        except (OSError, RuntimeError, EOFError, LookupError, pickle.UnpicklingError) as error:
            raise RunError(f"{path} is damaged ({error}): delete {self.folder}") from error
        if fingerprint != self.fingerprint:
            raise RunError(
                f"{path} belongs to another configuration or data set: resume with the settings "
                "it was started with, or choose another folder"
            )
        return content

    def _whole(self) -> dict[str, dict[str, int]]:
        whole: dict[str, dict[str, int]] = read_json(self.folder / WHOLE_FILE)["whole"]
        return whole

    def _trainers(self, target: Path) -> list[Path]:
        """The trainers' folders of a checkpoint, after a look at all files."""
        wanted = self._whole().get(target.name)
        if wanted is None:
            raise RunError(f"{target} is no whole checkpoint: delete it and train again")
        for name, size in wanted.items():
            path = target / name
            if not path.is_file() or (name != DENSE and path.stat().st_size != size):
                raise RunError(f"{path} is missing or half-written: copy the run folder again")
        return sorted({target / name.split("/")[0] for name in wanted if name != DENSE})


def _write_header(
    path: Path, dense: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, int]], epoch: int
) -> dict[str, int]:
    """Begin a safetensors file with the small tensors; gives the offsets of the large ones.

    The format: length of the header, header in JSON, then the values, one tensor after the other.
    """
    kinds = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.bool: "BOOL"}
    header: dict[str, Any] = {"__metadata__": {"epoch": str(epoch)}}
    end, values = 0, []
    for name, value in dense.items():
        raw = value.contiguous().numpy().tobytes()
        span = [end, end + len(raw)]
        header[name] = {
            "dtype": kinds[value.dtype],
            "shape": list(value.shape),
            "data_offsets": span,
        }
        values.append(raw)
        end = span[1]
    places = {}
    for name, shape in shapes.items():
        places[name], size = end, 4 * shape[0] * shape[1]
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(values))
        file.truncate(8 + len(text) + end)
    return {name: 8 + len(text) + place for name, place in places.items()}
