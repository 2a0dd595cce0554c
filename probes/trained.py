"""All probes of a trained run, from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..pipeline import load_aligned_run
from .clusters import ClusterProbe, probe_clusters
from .geometry import GeometryProbe, probe_geometry
from .views import run_views


@dataclass(frozen=True)
class RunProbe:
    """What `probe_run` finds."""

    run: str
    """The run folder."""
    views: tuple[str, ...]
    """Views of items; `id` alone where nothing projects content."""
    clusters: ClusterProbe
    geometry: GeometryProbe

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "run": self.run,
            "views": list(self.views),
            **self.clusters.to_dict(),
            "geometry": self.geometry.to_dict(),
        }

    def lines(self) -> list[str]:
        """Text lines of at most 80 columns."""
        return [
            f"views: {', '.join(self.views)}",
            "",
            *self.clusters.lines(),
            *self.geometry.lines(),
        ]


def probe_run(
    folder: str | Path, *, n_clusters: int = 50, seed: int = 0, data: str | None = None
) -> RunProbe:
    """Cluster quality and geometry of a trained run.

    Args:
        folder: run folder.
        n_clusters: clusters of k-means.
        seed: of k-means and of samples.
        data: where the data of the run lie now, if they were moved.

    Raises:
        RunError: the folder is not a run, or its weights do not fit its data.
        ConfigError: there are not more rows than clusters.
    """
    _, dataset, backbone, alignment = load_aligned_run(folder, data)
    views = run_views(dataset, backbone, alignment)
    return RunProbe(
        str(folder),
        tuple(views.items),
        probe_clusters(views, alignment, n_clusters=n_clusters, seed=seed),
        probe_geometry(views, seed=seed),
    )
