"""Probes: what features know before training, and what a trained run has made of them.

Probes of features are in `features.py` and `zero_shot.py`, of views in `clusters.py` and
`geometry.py`. `trained.py` stands above the pipeline and probes a run folder.
"""

from .clusters import ClusterProbe, probe_clusters
from .features import FeatureProbe, probe_features
from .geometry import GeometryProbe, probe_geometry
from .views import Views, run_views
from .zero_shot import zero_shot_scores

__all__ = [
    "ClusterProbe",
    "FeatureProbe",
    "GeometryProbe",
    "Views",
    "probe_clusters",
    "probe_features",
    "probe_geometry",
    "run_views",
    "zero_shot_scores",
]
