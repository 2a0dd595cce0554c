"""Which items finished runs find and recommend: by popularity, and those never seen in training."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..config import load_config
from ..datasets import Dataset
from ..errors import ConfigError
from ..evaluation.groups import (
    GroupBy,
    Groups,
    ItemGroup,
    ListStatistics,
    group_metrics,
    group_sizes,
    list_statistics,
    popularity_groups,
)
from ..evaluation.ranking import evaluate
from ..pipeline import load_run
from ..progress import Bar
from ..report.numbers import Measure, measure
from ..report.text_table import text_table
from ..run_data import data_of_run
from ..run_files import CONFIG_FILE
from ..run_folder import run_config
from ..run_measures import run_scores
from .finished import FinishedMethod
from .methods import method_label


@dataclass(frozen=True)
class MethodByPopularity:
    """A method on the items of every group.

    Attributes:
        label: its name.
        method: `backbone` or `backbone+alignment`, the label itself if it begins so.
        folders: its run folders.
        overall: metric -> mean over all users.
        groups: for each group, metric -> mean over the users with a held-out item of the group;
            empty for a group without any.
        shares: for each group, its share of all recommendations.
        coverage: share of the catalogue that is recommended to anyone.
        gini: inequality of how often items are recommended.
        popularity: mean training interactions of what a user is recommended.
    """

    label: str
    method: str
    folders: tuple[str, ...]
    overall: Mapping[str, Measure]
    groups: tuple[Mapping[str, Measure], ...]
    shares: tuple[Measure, ...]
    coverage: Measure
    gini: Measure
    popularity: Measure


@dataclass(frozen=True)
class DataByPopularity:
    """Groups of one data set, and the methods on it.

    Attributes:
        data: name of the data set.
        groups: what the groups hold.
        methods: the methods.
    """

    data: str
    groups: tuple[ItemGroup, ...]
    methods: tuple[MethodByPopularity, ...]


def list_rows(block: DataByPopularity) -> list[list[str]]:
    """Method, and what its lists look like, as text."""
    return [
        [m.label, f"{m.coverage.mean:.1%}", f"{m.gini.mean:.3f}", f"{m.popularity.mean:.1f}"]
        for m in block.methods
    ]


@dataclass(frozen=True)
class PopularityReport:
    """Metrics by item popularity.

    Attributes:
        k: cut-off, and length of the lists.
        split: evaluated split.
        by: what groups have in equal parts.
        data: one entry for each data set.
    """

    k: int
    split: str
    by: GroupBy
    data: tuple[DataByPopularity, ...]

    @property
    def metrics(self) -> tuple[str, str]:
        """Names of the metrics."""
        return f"recall@{self.k}", f"ndcg@{self.k}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Tables of at most 80 columns: groups, methods by group, and lists."""
        return [line for block in self.data for line in self._tables(block)]

    def to_csv(self) -> str:
        """One row for each method and group."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["data", "method", "group", "items", "held_out", "users", "metric", "mean"])
        for block in self.data:
            for method in block.methods:
                for group, values in zip(block.groups, method.groups, strict=True):
                    size = (group.name, group.items, group.held_out, group.users)
                    for name, found in values.items():
                        table.writerow([block.data, method.label, *size, name, found.mean])
        return text.getvalue()

    def _tables(self, block: DataByPopularity) -> Iterator[str]:
        head = [f"{block.data}, {self.split}", "items", "interactions", "held out", "users"]
        rows = [
            [g.name, *map(str, (g.items, g.interactions, g.held_out, g.users))]
            for g in block.groups
        ]
        yield from [*text_table(head, rows), ""]
        rows = [[label if g == "all" else "", g, *rest] for label, g, *rest in self.rows(block)]
        yield from [*text_table(["", "group", *self.metrics, "share"], rows), ""]
        yield from text_table(["lists", "coverage", "Gini", "popularity"], list_rows(block))
        yield ""

    def rows(self, block: DataByPopularity) -> list[list[str]]:
        """Method, group, its metrics and its share of the recommendations, as text."""
        rows = []
        for method in block.methods:
            overall = [method.overall[name].text() for name in self.metrics]
            rows.append([method.label, "all", *overall, ""])
            of_groups = zip(block.groups, method.groups, method.shares, strict=True)
            for group, values, share in of_groups:
                found = [values[n].text() if n in values else "–" for n in self.metrics]
                rows.append([method.label, group.name, *found, f"{share.mean:.1%}"])
        return rows


def popularity_report(
    methods: Sequence[FinishedMethod],
    *,
    n_groups: int = 5,
    by: GroupBy = "items",
    k: int = 20,
    split: str = "test",
    progress: bool = True,
    data: str | None = None,
) -> PopularityReport:
    """Reload every run and evaluate it by item popularity; nothing is trained.

    Args:
        methods: finished runs; those on one data set must have been trained on the same data.
        n_groups: groups beside the cold one.
        by: what groups have in equal parts.
        k: cut-off of the metrics, and length of the lists.
        split: `valid` or `test`.
        progress: show a progress bar.
        data: where the data lie now, if they were moved; all methods must be of one data set.

    Raises:
        ConfigError: runs on one data set have other data, or there are too many groups.
    """
    by_data: dict[str, list[FinishedMethod]] = {}
    for method in methods:
        by_data.setdefault(method.data, []).append(method)
    if data is not None and len(by_data) > 1:
        raise ConfigError(f"--data names one of {len(by_data)} data sets: give runs on one alone")
    n_runs = sum(len(method.folders) for method in methods)
    with Bar(total=n_runs, desc="runs", disable=not progress) as bar:
        blocks = [_block(ours, n_groups, by, k, split, bar, data) for ours in by_data.values()]
    return PopularityReport(k, split, by, tuple(blocks))


def _block(
    methods: Sequence[FinishedMethod],
    n_groups: int,
    by: GroupBy,
    k: int,
    split: str,
    bar: Bar,
    data: str | None,
) -> DataByPopularity:
    """All methods on one data set; the first run says which data."""
    folder = methods[0].folders[0]
    _, dataset = data_of_run(folder, run_config(folder, data))
    groups = popularity_groups(dataset, n_groups, by)
    found = []
    for method in methods:
        runs = []
        for folder in method.folders:
            runs.append(_evaluate(folder, dataset, groups, k, split, data))
            bar.update()
        found.append(_averaged(method, runs))
    sizes = group_sizes(groups, dataset, split)
    return DataByPopularity(dataset.name, tuple(sizes), tuple(found))


@dataclass(frozen=True)
class _Evaluated:
    """One run: metrics over all users, of every group, and its lists."""

    overall: Mapping[str, float]
    groups: Sequence[Mapping[str, float]]
    lists: ListStatistics


def _evaluate(
    folder: Path, dataset: Dataset, groups: Groups, k: int, split: str, data: str | None
) -> _Evaluated:
    config, own, backbone = load_run(folder, data)
    same = (torch.equal(own.split(name), dataset.split(name)) for name in ("train", split))
    if not all(same):
        raise ConfigError(
            f"{folder} was trained or is tested on other interactions than the first run: give "
            "runs on the same data"
        )
    scores = run_scores(folder, config, own, backbone)
    kept = (f"recall@{k}", f"ndcg@{k}")
    overall = evaluate(scores, dataset, split, (k,))
    by_group = group_metrics(scores, dataset, split, groups, (k,))
    return _Evaluated(
        {name: overall[name] for name in kept},
        [{name: values[name] for name in kept if name in values} for values in by_group],
        list_statistics(scores, dataset, split, groups, k),
    )


def _averaged(method: FinishedMethod, runs: Sequence[_Evaluated]) -> MethodByPopularity:
    lists = [run.lists for run in runs]
    return MethodByPopularity(
        label=method.label,
        method=_name(method),
        folders=tuple(map(str, method.folders)),
        overall=_measures([run.overall for run in runs]),
        groups=tuple(map(_measures, zip(*(run.groups for run in runs), strict=True))),
        shares=tuple(map(measure, zip(*(found.shares for found in lists), strict=True))),
        coverage=measure([found.coverage for found in lists]),
        gini=measure([found.gini for found in lists]),
        popularity=measure([found.popularity for found in lists]),
    )


def _name(method: FinishedMethod) -> str:
    """The label if it names the method, else what was run, as `Row.method` of a study's table."""
    config = load_config(method.folders[0] / CONFIG_FILE)
    named = method.label.startswith(config.backbone.name)
    return method.label if named else method_label(config)


def _measures(runs: Sequence[Mapping[str, float]]) -> dict[str, Measure]:
    return {name: measure([run[name] for run in runs]) for name in runs[0]}
