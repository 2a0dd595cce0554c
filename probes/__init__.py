"""Probes: what features know before training, and what a trained run has made of them.

Here are the probes themselves, of features (`features.py`, with `zero_shot.py` and `item_cf.py`)
and of views (`clusters.py`, `geometry.py`). Three modules stand above the pipeline and are
imported by their own names: `trained.py` probes a run folder; `mask_modality.py` and
`content_controls.py` say what `study.run_study` has to train.
"""

from .clusters import ClusterProbe, probe_clusters
from .features import FeatureProbe, probe_features
from .geometry import GeometryProbe, probe_geometry
from .item_cf import item_cf_scores
from .views import Views, run_views
from .zero_shot import zero_shot_scores

__all__ = [
    "ClusterProbe",
    "FeatureProbe",
    "GeometryProbe",
    "Views",
    "item_cf_scores",
    "probe_clusters",
    "probe_features",
    "probe_geometry",
    "run_views",
    "zero_shot_scores",
]
