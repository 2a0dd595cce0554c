"""Maps in two dimensions of several views at once (FETTLE, SIGIR 2024, Figures 5 and 6)."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt
from pydantic.dataclasses import dataclass as checked_dataclass
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from torch import Tensor

from ..errors import ConfigError, RunError
from ..options import STRICT, Options
from ..probes import Views
from ..probes.geometry import Gap, gap

Method = Literal["tsne", "pca", "umap"]
LABELS: Mapping[Method, str] = {"tsne": "t-SNE", "pca": "principal component", "umap": "UMAP"}
"""Method -> name of its axes."""


@checked_dataclass(frozen=True, config=STRICT)
class MapOptions(Options):
    """How maps are drawn. FETTLE does not state its settings; these are the usual ones."""

    method: Method = "tsne"
    """t-SNE, principal components, or UMAP where `umap-learn` is installed."""
    perplexity: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 30.0
    """Of t-SNE: about how many neighbours of a row count."""
    sample: Annotated[int, Field(ge=2)] = 500
    """Items on a map of items."""
    pairs: Annotated[int, Field(ge=2)] = 500
    """Interacting pairs on a map of users and items."""
    seed: NonNegativeInt = 0
    """Of samples and maps."""


@dataclass(frozen=True)
class Picture:
    """One map.

    Attributes:
        ids: group -> `(n,)` ids of its rows: users for `user`, else items.
        places: group -> `(n, 2)` coordinates.
        gaps: between the groups, in numbers.
    """

    ids: Mapping[str, Tensor]
    places: Mapping[str, np.ndarray]
    gaps: tuple[Gap, ...]

    def to_dict(self) -> dict[str, Any]:
        """Ids and coordinates of every group, as plain values for JSON."""
        return {
            name: {"ids": self.ids[name].tolist(), "places": places.round(4).tolist()}
            for name, places in self.places.items()
        }


def items_picture(views: Views, gaps: tuple[Gap, ...], options: MapOptions) -> Picture:
    """Figure 5: all views of a sample of items on one map; rows that an item lacks are left out.

    Args:
        views: of a run.
        gaps: between its views, as `probe_geometry` measures them over all items.
        options: size of the sample, seed and method.
    """
    n_items = len(views.items["id"])
    chosen = _draw(n_items, options.sample, options.seed)
    ids = {name: chosen[present[chosen]] for name, present in views.present.items()}
    rows = {name: views.items[name][ids[name]] for name in ids if len(ids[name])}
    return Picture(ids, joint_map(rows, options), gaps)


def pairs_picture(views: Views, options: MapOptions) -> Picture:
    """Figure 6: users and the content of items they took, from a sample of training pairs.

    A run without content views shows its item representations instead. Gaps are measured on the
    sampled pairs; a user or item that stands in several of them is drawn once.
    """
    users, items = views.pairs[:, _draw(views.pairs.shape[1], options.pairs, options.seed)]
    names = [name for name in views.items if name != "id"] or ["id"]
    tables = {"user": views.user[users]} | {name: views.items[name][items] for name in names}
    present = {"user": torch.ones(len(users), dtype=torch.bool)}
    present |= {name: views.present[name][items] for name in names}
    paired = Views(tables["user"], tables, present, views.pairs)
    ids = {"user": users.unique()} | {n: items[present[n]].unique() for n in names}
    rows = {"user": views.user[ids["user"]]} | {n: views.items[n][ids[n]] for n in names}
    drawn = {name: table for name, table in rows.items() if len(table)}
    gaps = tuple(gap(paired, "user", name) for name in names if present[name].any())
    return Picture(ids, joint_map(drawn, options), gaps)


def joint_map(rows: Mapping[str, Tensor], options: MapOptions) -> dict[str, np.ndarray]:
    """Coordinates `(n, 2)` of every group, from one map of all rows together.

    Args:
        rows: group -> `(n, dim)`, equal `dim` in all groups.
        options: method, perplexity and seed.

    Raises:
        ConfigError: the perplexity is too high for the rows, or UMAP is not installed.
        RunError: the views have different widths.
    """
    widths = {name: table.shape[1] for name, table in rows.items()}
    if len(set(widths.values())) > 1:
        shown = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise RunError(
            f"the views have different widths ({shown}), so they share no map: give a run whose "
            "alignment projects content to the width of its items"
        )
    stacked = torch.cat(list(rows.values())).double().numpy()
    places = _PLACE[options.method](stacked, options)
    ends = np.cumsum([len(table) for table in rows.values()])[:-1]
    return dict(zip(rows, np.split(places, ends), strict=True))


def _tsne(rows: np.ndarray, options: MapOptions) -> np.ndarray:
    if options.perplexity >= len(rows):
        raise ConfigError(
            f"perplexity {options.perplexity:g} needs more than the {len(rows)} rows of the map: "
            "lower --perplexity or raise --sample and --pairs"
        )
    seed, perplexity = options.seed, options.perplexity
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(rows)


def _pca(rows: np.ndarray, options: MapOptions) -> np.ndarray:
    return PCA(2, svd_solver="full").fit_transform(rows)


def _umap(rows: np.ndarray, options: MapOptions) -> np.ndarray:
    if importlib.util.find_spec("umap") is None:
        raise ConfigError(
            "method umap needs the package umap-learn, which is not installed: "
            "pip install umap-learn, or choose --method tsne or pca"
        )
    umap = importlib.import_module("umap")
    return np.asarray(umap.UMAP(n_components=2, random_state=options.seed).fit_transform(rows))


_PLACE = {"tsne": _tsne, "pca": _pca, "umap": _umap}


def _draw(n: int, size: int, seed: int) -> Tensor:
    """At most `size` different numbers below `n`, the same for every run of the same size."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:size]
