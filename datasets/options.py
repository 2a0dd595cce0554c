"""What can be chosen when a data set is read."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from ..options import STRICT, Options

ContentKind = Literal["given", "shuffled", "constant", "random"]
CorruptionKind = Literal[
    "none", "missing_content", "noisy_content", "added_feedback", "deleted_feedback"
]
CorruptionFill = Literal["mean", "zeros", "missing"]


@dataclass(frozen=True, config=STRICT)
class DataOptions(Options):
    """Options of `load_dataset`. One that the format at hand does not read is refused."""

    section: ClassVar[str] = "data"

    format: str = "auto"
    """File layout, by its name in `crossalign list`; `auto` recognises it from the files."""

    modalities: tuple[str, ...] | None = None
    """Modalities to load, in this order; by default all that are found, by name."""

    features: dict[str, str] = Field(default_factory=dict)
    """Feature files outside the data folder, modality -> `.npy`, `.npz` or `.parquet` relative to
    the working directory, e.g. from `crossalign encode`. Each adds a modality, or replaces the
    features and the ready graph of the one of its name."""

    item_graphs: bool = True
    """Whether to load ready item-item graphs (`<modality>_knn*.npz`) where there are any."""

    split: str = "auto"
    """How rows are split: `random` (MMRec's rule), `chronological` (the latest rows of each user
    are held out), `global_time` (one time for all users: the latest tenth of all rows tests, the
    tenth before validates), the name of a table's column that says train, valid or test, or `auto`:
    the split that the data bring, else `random`. With `new_items` all rows of a tenth of the items
    are held out, half of the items for validation and half for test (`crossalign new-items`)."""

    hold_out: bool = True
    """False gives every row to training, those of validation and test too: then nothing is
    validated, and training runs for exactly `training.epochs` epochs, as `train --refit` does."""

    split_seed: int = Field(default=999, ge=0)
    """Seed of the random split, and of which of several rows of one user and time are held out,
    and of the items that `new_items` withholds."""

    swap_valid_test: bool = False
    """Swap validation and test. The group behind FETTLE and CROSS labels TikTok's `tstMat.pkl`
    as validation and `valMat.pkl` as test; swap to compare with its TikTok numbers."""

    min_user_interactions: int = Field(default=1, ge=1)
    """k-core filter for tables: interactions a user needs to stay (5 in most papers)."""

    min_item_interactions: int = Field(default=1, ge=1)
    """k-core filter for tables: interactions an item needs to stay (5 in most papers)."""

    user_column: str | None = None
    """Column of user ids in a table; by default the one called user, user_id or the like."""

    item_column: str | None = None
    """Column of item ids in a table; by default the one called item, item_id or the like."""

    time_column: str | None = None
    """Column of times in a table, for a split by time; by default the one called time,
    timestamp or the like."""

    separator: str | None = Field(default=None, min_length=1, max_length=8)
    """What separates the fields of a text table; by default a comma in `.csv`, a tab in `.tsv` and
    `.inter`, and whichever of comma, tab, semicolon and bar the header has where it lacks that."""

    encoding: str = "utf-8"
    """Encoding of text tables, e.g. `latin-1` or `utf-16`."""

    min_rating: float | None = Field(default=None, allow_inf_nan=False)
    """Rows of a table rated lower are no interactions: they are left out of all splits, and their
    items are not recommended to these users either."""

    rating_column: str | None = None
    """Column of ratings in a table, for `min_rating`; by default the one called rating, stars or
    the like."""

    row_order: Literal["sorted", "file"] = "sorted"
    """In which order interactions stand: sorted by user and item, so that the order of the file
    does not count; or that of the file, which ties and random splits then follow too. Earlier
    versions read `file`: their runs are read so where that gives the data they were trained on."""

    planted_users: int = Field(default=4000, ge=10)
    """Number of users of the planted data set."""

    planted_items: int = Field(default=2000, ge=20)
    """Number of items of the planted data set."""

    planted_seed: int = Field(default=0, ge=0)
    """Seed of the planted data set."""

    content: ContentKind = "given"
    """Controls: `shuffled` permutes the feature rows over the items, each modality on its own;
    `constant` gives every item the mean row; `random` draws rows with the means and deviations of
    the columns. Ready item graphs are then left out, and so they are with `mask_ratio`."""

    content_seed: int = Field(default=0, ge=0)
    """Seed of shuffled and random content."""

    mask_ratio: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the items that lose one modality, never all; higher ratios take from the same items
    and more."""

    mask_seed: int = Field(default=0, ge=0)
    """Seed of which items lose which modality."""

    mask_zeros: bool = False
    """Leave masked rows as zeros that count as content, as AlignRec's code does, instead of marking
    them as missing."""

    mask_features: str | None = None
    """Folder with `<modality>_without_<lost>.npy`, a unified modality encoded anew without one of
    its inputs: masked items take their rows from there."""

    corruption: CorruptionKind = "none"
    """What is corrupted, after reading: rows of features lost or another item's, random pairs added
    to or deleted from the training split. Ready item graphs are left out where content changes."""

    corruption_ratio: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the rows of each modality, or of the training pairs; higher ratios change the same
    ones and more."""

    corruption_seed: int = Field(default=0, ge=0)
    """Seed of what is corrupted."""

    corruption_fill: CorruptionFill = "mean"
    """What stands in place of lost rows: the mean of the others, zeros that count as content, or
    rows that are marked as missing."""
