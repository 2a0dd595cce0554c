"""Comparison with the numbers that published implementations gave, read from a folder of npz files.

A test names a part of the folder and a file's prefix, and runs once per file found there:

    @pytest.mark.golden("hosts", "mgcn")         # hosts/mgcn.npz and hosts/mgcn_<variant>.npz
    def test_equals_the_published_code(case):
        backbone = case.build(MGCN, "image", "text", dim=case.hparams["embedding_size"], ...)
        case.fill(backbone, PARAMETERS)          # our name -> published name
        case.check_representations(backbone)
        case.check_step(backbone, PARAMETERS, TERMS)    # our term -> (published name, weight)
        case.check_second_step(backbone, PARAMETERS, TERMS)

Everything about a case comes from its file: sizes, training pairs, batch, features, parameters and
hyper-parameters. The folder is `tests/golden`, or the one given with `--golden`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from crossalign.datasets import Dataset
from crossalign.graphs import GraphOptions, build_graph
from crossalign.models import Backbone, Batch

BUNDLED = Path(__file__).parent / "golden"
PARTS = ("", "backbones", "systems", "hosts")

RTOL, ATOL = 1e-9, 1e-12
AFTER_A_STEP = 1e-6
"""Of the largest entry: an optimiser divides gradients close to zero by their own size."""
NOISE = 1e-14
"""Gradients that are zero in exact arithmetic are rounding noise, on both sides."""
STEPPED_NOISE = 1e-8
"""What an optimiser makes of such noise, in a parameter."""
OPTIMIZERS = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}

Names = Mapping[str | tuple[str, ...], str]
"""Our parameter -> its published name; several of ours may be stacked in a published one. A name
that ends in `.T` is of a published parameter that is the transpose of ours."""

Multiply = Callable[[Tensor], Tensor]
"""A sparse matrix, as what it does to a dense one."""

Terms = Mapping[str, tuple[str, float]]
"""Our term -> its published name, and the weight that ours already has."""


def folder_of(config: pytest.Config) -> Path:
    """The folder of `--golden`, or the numbers that come with the tests."""
    given = config.getoption("golden")
    if given is None:
        return BUNDLED
    folder = (config.invocation_params.dir / given).resolve()
    if not any(path for part in PARTS for path in folder.joinpath(part).glob("*.npz")):
        raise pytest.UsageError(
            f"--golden {given}: no npz file there, nor in its folders "
            f"{', '.join(PARTS[1:])}; docs/golden.md describes the layout"
        )
    return folder


def find(folder: Path, part: str, prefix: str) -> list[Path]:
    """`<prefix>.npz` and `<prefix>_<variant>.npz` in a part of the folder, sorted by name."""
    paths = sorted(folder.joinpath(part).glob("*.npz"))
    return [path for path in paths if path.stem == prefix or path.stem.startswith(f"{prefix}_")]


def cases(folder: Path, part: str, prefix: str) -> list:
    """A parameter for each file found; one that is skipped, with the reason, if there is none."""
    found = [
        pytest.param(GoldenCase(path), id="/".join(filter(None, (part, path.stem))))
        for path in find(folder, part, prefix)
    ]
    if found:
        return found
    reason = f"no {prefix}.npz and no {prefix}_*.npz in {folder / part}"
    return [pytest.param(None, id=f"no {prefix}", marks=pytest.mark.skip(reason=reason))]


@dataclass(frozen=True)
class GoldenCase:
    """What one published implementation gave in float64 for one batch."""

    path: Path

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """All that the file holds."""
        with np.load(self.path) as file:
            return dict(file)

    @cached_property
    def hparams(self) -> dict:
        """Hyper-parameters under their published names."""
        return json.loads(str(self.arrays["hparams"]))

    def __getitem__(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key])

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    @property
    def name(self) -> str:
        """Of the file, without its ending."""
        return self.path.stem

    @property
    def batch(self) -> Batch:
        """The recorded rows."""
        return Batch(self["batch_users"], self["batch_pos"], self["batch_neg"])

    def data(self, *modalities: str) -> Dataset:
        """The training pairs in the file's order, and the features named, in the order named.

        The other splits are those of `dataset.npz` beside it; without that file, both are the first
        training pair, as no backbone reads them.
        """
        train = torch.stack([self["train_users"], self["train_items"]])
        beside = self.path.with_name("dataset.npz")
        held_out = [train[:, :1]] * 2
        if beside.exists():
            with np.load(beside) as file:
                held_out = [torch.from_numpy(file[name].T.copy()) for name in ("valid", "test")]
        features = {name: self[f"{name}_features"] for name in modalities}
        sizes = int(self["n_users"]), int(self["n_items"])
        return Dataset(self.name, *sizes, train, *held_out, features=features)

    def build(
        self,
        cls: type[Backbone],
        *modalities: str,
        graph: GraphOptions | None = None,
        **options: object,
    ) -> Backbone:
        """The backbone in float64 on this case's data, with random parameters as yet."""
        torch.manual_seed(0)
        data = self.data(*modalities)
        features = {name: table.double() for name, table in data.features.items()}
        heterograph = build_graph(data, graph, relations=cls.relations)
        return cls(heterograph, features, **options).double()

    def fill(self, backbone: Backbone, names: Names) -> None:
        """Copy the recorded parameters; `names` must hold all that the backbone trains."""
        ours = [parts if isinstance(parts, tuple) else (parts,) for parts in names]
        named = {name for parts in ours for name in parts}
        trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
        assert trained <= named <= set(dict(backbone.named_parameters()))
        with torch.no_grad():
            for parts, theirs in zip(ours, names.values(), strict=True):
                tables = [backbone.get_parameter(name) for name in parts]
                recorded = self._published("param/", theirs).split([len(t) for t in tables])
                for table, value in zip(tables, recorded, strict=True):
                    assert table.shape == value.shape, f"{theirs}: {value.shape}"
                    table.copy_(value)

    def equals(self, ours: Tensor, key: str, factor: float = 1.0) -> None:
        """`ours` is `factor` times the recorded tensor, to rounding in float64."""
        self._close(ours, factor * self[key], key, rtol=RTOL, atol=ATOL)

    def equals_after_step(self, ours: Tensor, key: str, factor: float = 1.0) -> None:
        """The same for a number recorded after an optimiser's step."""
        expected = factor * self[key]
        self._close(ours, expected, key, rtol=0, atol=AFTER_A_STEP * largest(expected) + ATOL)

    def check_step(self, backbone: Backbone, names: Names, terms: Terms, prefix: str = "") -> None:
        """The batch's loss, in total and by terms, and all gradients, in training mode.

        `terms` must name every term of ours; one of weight 0 may be left out of our loss. Keys of
        the file begin with `prefix`; what was recorded after an optimiser's step is held to its
        tolerance.
        """
        equals = self.equals_after_step if self._stepped(prefix) else self.equals
        backbone.train().zero_grad(set_to_none=True)
        found = backbone.loss(self.batch, backbone())
        total = torch.stack(list(found.values())).sum()
        total.backward()
        equals(total, f"{prefix}loss/total")
        weighted = {term for term, (_, weight) in terms.items() if weight != 0}
        assert weighted <= set(found) <= set(terms)
        for term, value in found.items():
            recorded, weight = terms[term]
            equals(value, f"{prefix}loss/{recorded}", weight)
        self.check_gradients(backbone, names, prefix)

    def check_gradients(self, backbone: Backbone, names: Names, prefix: str = "") -> None:
        """Every recorded gradient; a parameter that has none there must have none here."""
        begin = f"{prefix}grad/"
        recorded = {key.removeprefix(begin) for key in self.arrays if key.startswith(begin)}
        assert recorded <= {theirs.removesuffix(".T") for theirs in names.values()}
        for ours, theirs in names.items():
            parts = ours if isinstance(ours, tuple) else (ours,)
            parameters = [backbone.get_parameter(part) for part in parts]
            if theirs.removesuffix(".T") not in recorded:
                assert all(parameter.grad is None for parameter in parameters), begin + theirs
                continue
            found = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            expected = self._published(begin, theirs)
            tolerance = self._of_gradients(expected, prefix)
            self._close(torch.cat(found), expected, begin + theirs, **tolerance)

    def check_representations(self, backbone: Backbone, prefix: str = "") -> None:
        """Scores and representations while evaluating; keys of the latter begin with `prefix`."""
        with torch.no_grad():
            user, item = backbone.eval()()
        self.equals(user @ item.T, "scores")
        self.equals(user, f"{prefix}user_repr")
        self.equals(item, f"{prefix}item_repr")

    def check_second_step(self, backbone: Backbone, names: Names, terms: Terms) -> None:
        """After one step of the recorded optimiser: parameters, the same batch again, scores.

        The gradients of `check_step` are expected to be there. Anything drawn for the first batch
        must be in place for the second.
        """
        self.step(backbone, names)
        for ours, theirs in names.items():
            parts = ours if isinstance(ours, tuple) else (ours,)
            if f"second/param/{theirs.removesuffix('.T')}" in self:
                expected = self._published("second/param/", theirs)
                found = torch.cat([backbone.get_parameter(part) for part in parts])
                tolerance = AFTER_A_STEP * largest(expected) + STEPPED_NOISE
                self._close(found, expected, f"second/param/{theirs}", rtol=0, atol=tolerance)
        self.check_step(backbone, names, terms, prefix="second/")
        with torch.no_grad():
            user, item = backbone.eval()()
        self.equals_after_step(user @ item.T, "second/scores")

    def check_item_graph(self, graph: Multiply, name: str) -> None:
        """`graph` multiplies by the recorded items x items matrix `graph/<name>_*`."""
        n = int(self["n_items"])
        expected = self.matrix(name, n)
        ours = graph(torch.eye(n, dtype=torch.float64))
        self._close(ours, expected, f"graph/{name}", rtol=RTOL, atol=ATOL)

    def check_user_item_graph(self, to_user: Multiply, name: str = "ui") -> None:
        """`to_user` multiplies by the users x items block of the recorded symmetric matrix."""
        n_users, n_items = int(self["n_users"]), int(self["n_items"])
        expected = self.matrix(name, n_users + n_items)
        block = to_user(torch.eye(n_items, dtype=torch.float64))
        ours = torch.zeros_like(expected)
        ours[:n_users, n_users:], ours[n_users:, :n_users] = block, block.T
        self._close(ours, expected, f"graph/{name}", rtol=RTOL, atol=ATOL)

    def matrix(self, name: str, n_rows: int, n_columns: int | None = None) -> Tensor:
        """The recorded sparse matrix `graph/<name>_row`, `_col`, `_val` in dense form."""
        places = torch.stack([self[f"graph/{name}_row"], self[f"graph/{name}_col"]])
        size = n_rows, n_columns or n_rows
        return torch.sparse_coo_tensor(
            places, self[f"graph/{name}_val"], size, check_invariants=True
        ).to_dense()

    def step(self, backbone: Backbone, names: Names) -> None:
        """One step of the recorded optimiser, without the tables that are outside it there."""
        settings = dict(self.hparams["second_step"])
        outside = self.hparams.get("tables_not_in_the_optimiser", ())
        parameters = [
            backbone.get_parameter(part)
            for ours, theirs in names.items()
            if theirs.removesuffix(".T") not in outside
            for part in (ours if isinstance(ours, tuple) else (ours,))
        ]
        OPTIMIZERS[settings.pop("optimizer")](parameters, **settings).step()

    def _published(self, begin: str, theirs: str) -> Tensor:
        if theirs.endswith(".T"):
            return self[begin + theirs.removesuffix(".T")].T
        return self[begin + theirs]

    def _stepped(self, prefix: str) -> bool:
        return prefix in ("second/", "epoch2/") and "second_step" in self.hparams

    def _of_gradients(self, expected: Tensor, prefix: str) -> dict[str, float]:
        if self._stepped(prefix):
            return {"rtol": 0, "atol": AFTER_A_STEP * largest(expected) + NOISE}
        if self.path.parent.name == "hosts":  # some gradients are far smaller than ATOL there
            return {"rtol": 0, "atol": RTOL * largest(expected) + NOISE}
        return {"rtol": RTOL, "atol": ATOL}

    def _close(self, ours: Tensor, expected: Tensor, key: str, *, rtol: float, atol: float) -> None:
        torch.testing.assert_close(
            ours.detach(),
            expected.to(ours.dtype),
            rtol=rtol,
            atol=atol,
            msg=lambda message: f"{self.path}: {key}: {message}",
        )


def largest(tensor: Tensor) -> float:
    """The largest absolute entry."""
    return float(tensor.abs().max())
