"""Rows of a study for the reference lines: chosen on validation, kept in the study folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ..config import RunConfig, to_plain
from ..datasets import Dataset, load_dataset
from ..errors import ConfigError
from ..evaluation.metrics import parse_metric
from ..evaluation.per_user import evaluate_users, save_user_metrics
from ..evaluation.ranking import evaluate
from ..fileio import read_json, write_json
from ..graphs import dataset_hash
from ..progress import Bar
from ..references.base import REFERENCES, Reference
from ..registry import Entry
from ..report import write_report
from ..run_files import METRICS_FILE, USERS_FILE
from .methods import Method
from .study import MethodResult, read_result

FOLDER = "references"
"""Folder of a study that holds theirs."""
ALL = "all"


def parse_names(text: str) -> list[str]:
    """Names of reference lines from `a,b` or `all`.

    Raises:
        ConfigError: a name is unknown.
    """
    if text == ALL:
        return REFERENCES.names()
    return [REFERENCES[name.strip()].name for name in dict.fromkeys(text.split(","))]


def reference_rows(
    names: Sequence[str],
    methods: Sequence[Method],
    folder: str | Path,
    *,
    progress: bool = True,
) -> list[MethodResult]:
    """Results of reference lines on every data set of a study.

    One that reads content is left out on a data set without any, and EASE where the square of the
    catalogue does not fit. Results lie in
    `<folder>/<data>/references/<name>` and are computed anew only if the data, the grid or the
    metrics are others.

    Args:
        names: of `parse_names`.
        methods: the methods of the study: they say which data, cut-offs and monitored metric.
        folder: study folder.
        progress: show progress bars.

    Raises:
        ConfigError: methods on one data set read it or measure differently.
    """
    found = []
    for data, config in _settings(methods).items():
        dataset = load_dataset(config.path, options=config.data)
        for name in names:
            if REFERENCES[name].cls.usable(dataset):
                place = Path(folder) / data / FOLDER / name
                _Search(REFERENCES[name], dataset, config).run(place, progress=progress)
                found.append(read_result(name, [place], data=data, reference=True))
    return found


def _settings(methods: Sequence[Method]) -> dict[str, RunConfig]:
    """Data set -> a configuration that stands for all methods on it."""
    settings: dict[str, RunConfig] = {}
    for method in methods:
        config = settings.setdefault(method.data, method.config)
        for key in ("data", "evaluation"):
            if getattr(config, key) != getattr(method.config, key):
                raise ConfigError(
                    f"'{method.label}' has other {key} options than the methods before it: "
                    "reference lines need the same for all, or leave out --references"
                )
    return settings


@dataclass(frozen=True)
class _Search:
    """One reference line on one data set.

    Attributes:
        entry: which one.
        dataset: on what.
        config: says the cut-offs and the validation metric that chooses.
    """

    entry: Entry[Reference]
    dataset: Dataset
    config: RunConfig

    def run(self, folder: Path, *, progress: bool) -> None:
        """Leave the metrics of the best point in `folder`, unless they are there already."""
        key = self._key()
        file = folder / METRICS_FILE
        if file.is_file() and read_json(file).get("search") == key:
            return
        best = self._best(progress=progress)
        scores = self._make(best).scores()
        ks = self.config.evaluation.ks
        test, by_user = evaluate_users(scores, self.dataset, "test", ks)
        summary = {
            "backbone": self.entry.name,
            "dataset": self.dataset.name,
            "options": dict(best),
            "search": key,
            "valid": evaluate(scores, self.dataset, "valid", ks).to_dict(),
            "test": test.to_dict(),
        }
        save_user_metrics(folder / USERS_FILE, by_user)
        write_json(file, summary)
        write_report(folder)

    def _best(self, *, progress: bool) -> Mapping[str, Any]:
        """The point of the grid with the highest monitored metric on validation."""
        points = self.entry.cls.grid(self.dataset)
        if len(points) == 1:
            return points[0]
        monitor = self.config.training.monitor
        _, k = parse_metric(monitor)
        bar = Bar(points, desc=self.entry.name, leave=False, disable=not progress)
        values = [
            evaluate(self._make(p).scores(), self.dataset, "valid", [k])[monitor] for p in bar
        ]
        return points[values.index(max(values))]

    def _make(self, point: Mapping[str, Any]) -> Reference:
        return self.entry.cls(self.dataset, **point)

    def _key(self) -> dict[str, Any]:
        """All that the result depends on, as plain values."""
        defaults = {name: option.default for name, option in self.entry.options().items()}
        key = {
            "defaults": defaults,
            "grid": list(self.entry.cls.grid(self.dataset)),
            "monitor": self.config.training.monitor,
            "ks": self.config.evaluation.ks,
            "data": to_plain(self.config)["data"],
            "data_hash": dataset_hash(self.dataset),
        }
        plain: dict[str, Any] = TypeAdapter(dict[str, Any]).dump_python(key, mode="json")
        return plain
