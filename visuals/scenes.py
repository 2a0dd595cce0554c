"""What there is to see before and after alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .maps import MapOptions, Picture
from .nearest import Near
from .stages import Stage


@dataclass(frozen=True)
class Scene:
    """One stage with its two maps and the neighbours of the chosen items.

    Attributes:
        stage: what is seen.
        items: map of items (Figure 5).
        pairs: map of users and the content of their items (Figure 6).
        near: item -> view -> nearest items.
    """

    stage: Stage
    items: Picture
    pairs: Picture
    near: Mapping[int, Mapping[str, Sequence[Near]]]


@dataclass(frozen=True)
class Visuals:
    """What `visualize` shows.

    Attributes:
        dataset: name of the data set.
        modalities: its content modalities, which fix the colours.
        options: how the maps were drawn.
        scenes: before and after.
        names: item -> its original id, with its title where there is one.
    """

    dataset: str
    modalities: tuple[str, ...]
    options: MapOptions
    scenes: tuple[Scene, ...]
    names: Mapping[int, str]

    def to_dict(self) -> dict[str, Any]:
        """All numbers and coordinates, as plain values for JSON."""
        return {
            "dataset": self.dataset,
            "options": asdict(self.options),
            "stages": [
                {
                    "label": scene.stage.label,
                    "run": str(scene.stage.folder),
                    "geometry": scene.stage.geometry.to_dict(),
                    "items": scene.items.to_dict(),
                    "pairs": scene.pairs.to_dict(),
                    "pair_gaps": [asdict(gap) for gap in scene.pairs.gaps],
                    "nearest": {
                        item: {
                            view: [near._asdict() for near in found] for view, found in v.items()
                        }
                        for item, v in scene.near.items()
                    },
                }
                for scene in self.scenes
            ],
            "names": dict(self.names),
        }
