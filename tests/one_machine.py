"""What one machine trains, and the same weights on the hosts of a partition."""

from __future__ import annotations

import torch

from crossalign.align import ALIGNERS
from crossalign.config import load_config
from crossalign.distributed.folder import tensor
from crossalign.graphs import build_graph
from crossalign.models import BACKBONES


def settings(backbone: str, alignment: str, **training: object):
    values = {"sampling": "blocks", "fanout": -1, "exclude_positives": False, **training}
    options = [f"training.{name}={value}" for name, value in values.items()]
    options += ["backbone.dim=8"]
    if alignment == "cross":
        options.append("alignment.n_prototypes=16")
    if alignment == "rna":  # the partition of these tests holds neighbours by common users
        options.append("neighbors.by=cooccurrence")
    if backbone == "freedom":
        options.append("backbone.dropout=0")
    return load_config(None, options, backbone=backbone, alignment=alignment)


def one_machine(config, world, neighbors):
    """Backbone and alignment that hold whole tables."""
    cls = BACKBONES[config.backbone.name].cls
    graph = build_graph(world, config.graph, relations=cls.relations)
    backbone = cls(graph, world.features, **config.backbone.options)
    if config.alignment is None:
        return backbone, None
    raw = backbone.unprojected(world.features)
    aligner, options = ALIGNERS[config.alignment.name].cls, config.alignment.options
    listed = {"neighbors": neighbors} if aligner.wants_neighbors(options) else {}
    return backbone, aligner(
        backbone.representation_dim,
        world.modalities,
        feature_dims={name: table.shape[1] for name, table in raw.items()},
        missing=world.missing,
        **listed,
        **options,
    )


def same_weights(modules, backbone, alignment) -> None:
    """Give the hosts' tables, and what the trainer holds, the weights of one machine."""
    for name, table in modules.rows.trained.items():
        whole = dict(backbone.named_parameters())[name].detach()
        ids = tensor(modules.rows.cluster.folder, f"{modules.rows.kinds[name]}_ids")
        table.weight[torch.arange(len(whole))] = whole[ids]
    state = {f"backbone.{n}": t for n, t in backbone.state_dict().items()}
    if alignment is not None:
        state |= {f"alignment.{n}": t for n, t in alignment.state_dict().items()}
    modules.load_dense({n: t for n, t in state.items() if n in modules.dense_state()})
