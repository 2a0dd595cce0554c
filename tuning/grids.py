"""The grids of the papers, by backbone and alignment.

Weights of FETTLE and CROSS: the papers print {1, 10, 100} for collaborative backbones, but the
released logs and the sensitivity figure use 1e-5 to 1e-1; those are searched. Temperatures are
those of the sensitivity figures. Backbones: the grids of MMRec and of the original papers.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..config import RunConfig
from ..errors import ConfigError
from ..studies.methods import option_value
from .space import Choice, Value

Grid = Mapping[str, tuple[Value, ...]]

_WEIGHTS: tuple[Value, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_ILA_TEMPERATURES: tuple[Value, ...] = (0.05, 0.1, 0.15, 0.2, 0.25)
_TEMPERATURES: tuple[Value, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)
_DECADES: tuple[Value, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_FETTLE: Grid = {
    "alignment.ila_weight": _WEIGHTS,
    "alignment.cla_weight": _WEIGHTS,
    "alignment.ila_temperature": _ILA_TEMPERATURES,
    "alignment.cla_temperature": _TEMPERATURES,
}

ALIGNMENT_GRIDS: Mapping[str, Grid] = {
    "fettle": _FETTLE,
    "cross": {**_FETTLE, "alignment.cna_weight": _WEIGHTS},
    "ila": {"alignment.weight": _WEIGHTS, "alignment.temperature": _ILA_TEMPERATURES},
    "cla": {"alignment.weight": _WEIGHTS, "alignment.temperature": _TEMPERATURES},
    "cna": {"alignment.weight": _WEIGHTS, "alignment.temperature": _TEMPERATURES},
    "alignrec": {"alignment.cca_weight": (1e-4, 1e-3, 5e-3, 1e-2, 1e-1)},
    "bm3": {
        "alignment.weight": (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0),
        "alignment.dropout": (0.3, 0.5),
    },
}
"""Alignment -> grid."""

BACKBONE_GRIDS: Mapping[str, Grid] = {
    "bpr": {"backbone.reg_weight": (2.0, 1.0, *reversed(_DECADES))},
    "vbpr": {"backbone.reg_weight": (2.0, 1.0, *reversed(_DECADES))},
    "lightgcn": {
        "backbone.n_layers": (1, 2, 3, 4),
        "backbone.reg_weight": (1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
    },
    "freedom": {
        "backbone.dropout": (0.8, 0.9),
        "backbone.reg_weight": (0.0, 1e-5, 1e-4, 1e-3),
    },
    "lattice": {
        "training.learning_rate": (1e-4, 5e-4, 1e-3, 5e-3),
        "backbone.reg_weight": (0.0, 1e-5, 1e-4, 1e-3),
    },
    "bm3": {
        "backbone.n_layers": (1, 2),
        "backbone.dropout": (0.3, 0.5),
        "backbone.reg_weight": (0.1, 0.01),
    },
    "slmrec": {
        "training.learning_rate": (1e-4, 1e-3, 1e-2, 1e-1),
        "backbone.reg_weight": (0.01, 0.05, 0.1, 0.5, 1.0),
        "backbone.ssl_temperature": (0.1, 0.2, 0.5, 1.0),
    },
    "grcn": {"training.learning_rate": (1e-4, 1e-3, 1e-2), "backbone.reg_weight": _DECADES},
    "dualgnn": {"training.learning_rate": (1e-4, 1e-3, 1e-2), "backbone.reg_weight": _DECADES},
    "mgcn": {"backbone.cl_weight": (0.001, 0.01, 0.1)},
    "lirdrec": {
        "backbone.n_layers": (2, 3, 4),
        "backbone.reg_weight": (1e-2, 1e-3, 1e-4),
        "backbone.decay_weight": (0.9, 0.95, 0.99),
    },
    "smore": {
        "backbone.n_layers": (3, 4),
        "backbone.dropout": (0.0, 0.1),
        "backbone.cl_weight": (0.01, 0.03),
        "backbone.reg_weight": (1e-5, 1e-4),
    },
    "lgmrec": {
        "backbone.n_hyper_layers": (1, 2),
        "backbone.n_hyperedges": (4, 16, 64),
        "backbone.dropout": (0.2, 0.4, 0.6, 0.8),
        "backbone.alpha": (0.1, 0.2, 0.3, 0.4),
    },
    "mmgcn": {
        "training.learning_rate": (1e-4, 5e-4, 1e-3, 5e-3, 1e-2),
        "backbone.reg_weight": (0.0, *_DECADES),
    },
    "directau": {"backbone.gamma": (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)},
}
"""Backbone -> grid."""


def paper_space(config: RunConfig) -> dict[str, Choice]:
    """The papers' grid of the alignment of `config`, else that of its backbone, and its own values.

    The backbone of an aligned run keeps its options, as in the papers: they add an alignment to
    a backbone that was tuned alone.

    Raises:
        ConfigError: the papers give no grid for it.
    """
    if config.alignment is not None:
        kind, name, grids = "alignment", config.alignment.name, ALIGNMENT_GRIDS
    else:
        kind, name, grids = "backbone", config.backbone.name, BACKBONE_GRIDS
    if name not in grids:
        raise ConfigError(f"the papers give no grid for {kind} '{name}': give one with --space")
    own = {key: option_value(config, key) for key in grids[name]}
    return {
        key: Choice(values if own[key] in values else (own[key], *values))
        for key, values in grids[name].items()
    }
