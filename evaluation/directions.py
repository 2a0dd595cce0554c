"""Do the learnt alignment directions agree with a known truth?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from torch import Tensor


@dataclass(frozen=True)
class DirectionAgreement:
    """Agreement of learnt directions with the modality that carries the preference signal.

    Attributes:
        items: item and modality pairs that could be judged.
        decided: those in which exactly one of the two directions is active.
        agreed: decided ones whose target is the carrying modality.
    """

    items: int
    decided: int
    agreed: int

    @property
    def share(self) -> float:
        """Agreed among decided; NaN when nothing was decided."""
        return self.agreed / self.decided if self.decided else float("nan")

    def to_dict(self) -> dict[str, float | None]:
        """Counts and share (None when nothing was decided), ready for JSON."""
        return {**asdict(self), "share": self.share if self.decided else None}


def direction_agreement(
    directions: Mapping[str, Tensor], modalities: Sequence[str], truth: Tensor
) -> DirectionAgreement:
    """Compare directions between content modalities with the truth of a planted data set.

    For an item carried by modality t, the right direction between t and any other modality m is
    `m -> t`: the weaker one moves. Items without any active direction between the two (no
    training row) are not judged; items with both directions active are undecided.

    Args:
        directions: `{source}_to_{target}` -> `(n_items,)` bool.
        modalities: names of the content modalities.
        truth: `(n_items,)` index of the carrying modality.
    """
    items = decided = agreed = 0
    active = {name: on_device.cpu() for name, on_device in directions.items()}
    for index, carrier in enumerate(modalities):
        of_carrier = truth == index
        for other in modalities:
            if other != carrier:
                right = active[f"{other}_to_{carrier}"] & of_carrier
                wrong = active[f"{carrier}_to_{other}"] & of_carrier
                items += int((right | wrong).sum())
                decided += int((right ^ wrong).sum())
                agreed += int((right & ~wrong).sum())
    return DirectionAgreement(items, decided, agreed)
