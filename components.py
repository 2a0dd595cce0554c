"""What a configuration names, made: the graph, the backbone and the alignment of a run."""

from __future__ import annotations

from typing import Any

from .align import ALIGNERS, Alignment
from .config import RunConfig
from .datasets import Dataset
from .errors import ConfigError
from .fileio import require_memory
from .graphs import build_graph
from .graphs.dgl_import import DGLGraph
from .graphs.neighbor_search import make_neighbors
from .models import BACKBONES, Backbone
from .training import seed_everything

BYTES_OF_WEIGHT = 16
"""In single precision: the weight, its gradient, and two moments of Adam."""


def make_modules(config: RunConfig, dataset: Dataset) -> tuple[Backbone, Alignment | None]:
    """The configured backbone and alignment, initialised from the seed of the run."""
    _require_memory(config, dataset)
    seed_everything(config.seed)
    backbone = make_backbone(config, make_graph(config, dataset), dataset)
    return backbone, make_alignment(config, dataset, backbone)


def _require_memory(config: RunConfig, dataset: Dataset) -> None:
    """Refuse tables too large for this machine, before the system ends what fills its memory."""
    dim = config.backbone.options.get("dim", 0)
    prototypes = (config.alignment.options if config.alignment else {}).get("n_prototypes") or 0
    for what, rows in (
        (f"backbone.dim={dim}", dataset.n_users + dataset.n_items),
        (f"alignment.n_prototypes={prototypes}", prototypes),
    ):
        require_memory(f"training with {what}", rows * dim * BYTES_OF_WEIGHT)


def make_graph(config: RunConfig, dataset: Dataset) -> DGLGraph:
    """The heterograph with the relations that the configured backbone reads."""
    relations = BACKBONES[config.backbone.name].cls.relations
    if "user_cooccurs" in relations:
        config.graph.require_user_neighbors(config.backbone.options["n_neighbors"])
    return build_graph(dataset, config.graph, relations=relations, cache_dir=config.cache_dir)


def make_backbone(config: RunConfig, graph: DGLGraph, dataset: Dataset) -> Backbone:
    """The configured backbone, freshly initialised from the global seed."""
    require_content(config, dataset)
    cls = BACKBONES[config.backbone.name].cls
    backbone = cls(graph, dataset.features, **config.backbone.options)
    if not hasattr(backbone, "representation_dim"):
        raise TypeError(f"{cls.__name__}.__init__ must set self.representation_dim")
    return backbone


def make_alignment(config: RunConfig, dataset: Dataset, backbone: Backbone) -> Alignment | None:
    """The configured alignment in the backbone's dimension, or None."""
    if config.alignment is None:
        return None
    require_content(config, dataset)
    cls = ALIGNERS[config.alignment.name].cls
    raw = backbone.unprojected(dataset.features)
    data: dict[str, Any] = {
        "feature_dims": {name: table.shape[1] for name, table in raw.items()},
        "missing": dataset.missing,
    }
    if by := cls.wants_neighbors(config.alignment.options):
        data["neighbors"] = make_neighbors(config.neighbors, dataset, by=by).ids
    return cls(backbone.representation_dim, dataset.modalities, **data, **config.alignment.options)


def require_content(config: RunConfig, dataset: Dataset) -> None:
    """Raise `ConfigError` if a part of `config` needs content and `dataset` has none."""
    if dataset.features:
        return
    if BACKBONES[config.backbone.name].cls.needs_features:
        raise ConfigError(
            f"backbone '{config.backbone.name}' needs content features, but '{dataset.name}' has "
            "none: add <modality>_feat.npy files or choose another backbone"
        )
    if config.alignment is not None:
        raise ConfigError(
            f"alignment '{config.alignment.name}' needs content features, but '{dataset.name}' "
            "has none: add <modality>_feat.npy files or set alignment to none"
        )


def method_title(config: RunConfig) -> str:
    """Backbone and alignment on one short line, with the seed."""
    alignment = f" + {config.alignment.name}" if config.alignment else ""
    return f"{config.backbone.name}{alignment}, seed {config.seed}"


def reads_content(config: RunConfig) -> bool:
    """Whether content makes any difference to what `config` trains."""
    backbone = BACKBONES[config.backbone.name].cls
    alone = backbone.needs_features or "similar" in backbone.relations
    return alone or config.alignment is not None
