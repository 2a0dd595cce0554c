"""The kinds of evidence: what each item of a history says for every item, as sparse lists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from ..datasets.dataset import Dataset
from ..errors import ConfigError, unknown_name
from ..graphs.knn import feature_knn
from ..references.ease import ease_weights, fits_memory, require_memory
from ..references.inputs import content_table, history_matrix
from ..registry import Registry
from ..tensors.later import sp
from .options import AUTO, NONE, EvidenceOptions
from .pairs import allocation_lists, cosine_lists, largest_of_rows, largest_of_square

PLUS = "+"
"""Between the kinds of a sum."""


class Evidence(ABC):
    """What items say for one another, from training feedback and content alone.

    A subclass is registered with `EVIDENCE.register`.

    Args:
        dataset: only its training split and its content are read.
        options: of all kinds.
    """

    reads_content: ClassVar[bool] = False
    """Whether it needs features."""
    square: ClassVar[bool] = False
    """Whether it works on the dense square of the catalogue."""

    def __init__(self, dataset: Dataset, options: EvidenceOptions) -> None:
        self.dataset, self.options = dataset, options

    @abstractmethod
    def lists(self) -> sp.csr_matrix:
        """`(n_items, n_items)` float32: row j is what item j of a history says for each item."""

    def modalities(self) -> Sequence[str]:
        """The content that is read."""
        chosen = self.options.modalities
        return self.dataset.modalities if chosen is None else chosen


EVIDENCE: Registry[Evidence] = Registry("kind of evidence")
"""All kinds."""


@EVIDENCE.register("cooccurrence", paper="Sarwar et al., WWW 2001")
class Cooccurrence(Evidence):
    """Cosine of the users of two items."""

    def lists(self) -> sp.csr_matrix:
        """From the index of co-occurring items."""
        data = self.dataset
        return cosine_lists(data.train, data.n_users, data.n_items, self.options.neighbors)


@EVIDENCE.register("allocation", paper="Zhou et al., Physical Review E 2007")
class Allocation(Evidence):
    """The same, where users with few items count more: one over their number."""

    def lists(self) -> sp.csr_matrix:
        """From blocks of sparse products."""
        data = self.dataset
        return allocation_lists(data.train, data.n_users, data.n_items, self.options.neighbors)


@EVIDENCE.register("ease", paper="Steck, WWW 2019")
class Ease(Evidence):
    """The linear model of items that reconstructs histories best."""

    square = True

    def lists(self) -> sp.csr_matrix:
        """The entries of each item's column that are largest without their sign."""
        weights = ease_weights(
            history_matrix(self.dataset), self.options.ridge, memory_mib=self.options.memory_mib
        )
        return largest_of_square(weights, self.options.neighbors)


@EVIDENCE.register("contentease", paper="Steck, WWW 2019, with content in the Gram matrix")
class ContentEase(Evidence):
    """The same, where items are also similar by their content."""

    reads_content = square = True

    def lists(self) -> sp.csr_matrix:
        """As those of `Ease`."""
        weights = ease_weights(
            history_matrix(self.dataset),
            self.options.ridge,
            content=content_table(self.dataset, self.modalities()).numpy(),
            content_weight=self.options.content_weight,
            memory_mib=self.options.memory_mib,
        )
        return largest_of_square(weights, self.options.neighbors)


@EVIDENCE.register("contentknn", paper="item-CF of AlignRec, CIKM 2024")
class ContentNeighbors(Evidence):
    """Cosine of the content of two items."""

    reads_content = True

    def lists(self) -> sp.csr_matrix:
        """From the search for nearest items by content; an item says nothing for itself."""
        table = content_table(self.dataset, self.modalities())
        ids, cosine = feature_knn(table, self.options.content_k, include_self=False)
        row, rank = (ids >= 0).nonzero(as_tuple=True)
        entries = (cosine[row, rank].numpy(), (row.numpy(), ids[row, rank].numpy()))
        lists = sp.csr_matrix(entries, shape=(len(ids), len(ids)))
        return largest_of_rows(lists, self.options.content_k)


def parse_kinds(kind: str) -> list[str]:
    """The kinds of a sum such as `allocation+ease`.

    Raises:
        ConfigError: one is unknown, or stands twice.
    """
    names = [name.strip() for name in kind.split(PLUS)]
    if len(set(names)) < len(names):
        raise ConfigError(f"evidence.kind {kind} names a kind twice: name each once")
    return [EVIDENCE[name].name for name in names]


def possible_kinds(dataset: Dataset, options: EvidenceOptions) -> list[str]:
    """The kinds that can be made of a data set: with content if it has any, within the memory."""
    entries = [EVIDENCE[name] for name in EVIDENCE.names()]
    return [
        entry.name
        for entry in entries
        if (dataset.features or not entry.cls.reads_content)
        and (not entry.cls.square or fits_memory(dataset.n_items, options.memory_mib))
    ]


def evidence_lists(name: str, dataset: Dataset, options: EvidenceOptions) -> sp.csr_matrix:
    """The lists of one kind; raises as `require_possible` does."""
    require_possible(dataset, replace(options, kind=name))
    return EVIDENCE[name].cls(dataset, options).lists()


def require_possible(dataset: Dataset, options: EvidenceOptions) -> None:
    """Refuse options of evidence that a data set cannot have, before anything is trained.

    Raises:
        ConfigError: a kind is unknown or named twice, needs content that there is none of, or a
            square that exceeds the bound.
    """
    for name in [] if options.kind in (NONE, AUTO) else parse_kinds(options.kind):
        cls = EVIDENCE[name].cls
        if cls.reads_content and not dataset.features:
            raise ConfigError(
                f"evidence '{name}' needs content features, but '{dataset.name}' has none: add "
                "<modality>_feat.npy files or choose another kind"
            )
        if cls.square:
            require_memory(dataset.n_items, options.memory_mib)
    for modality in options.modalities or ():
        if modality not in dataset.features:
            raise unknown_name("modality of evidence.modalities", modality, dataset.features)
