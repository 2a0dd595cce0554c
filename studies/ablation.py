"""What each part of FETTLE and CROSS brings (FETTLE, Table 3, and CROSS's ablation)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..align.directions import Directions
from ..config import Component, RunConfig
from ..errors import ConfigError, unknown_name
from ..evaluation.significance import Difference, correct
from ..report import markup
from ..report.markup import Html, escape
from ..report.numbers import Measure
from ..report.text_table import text_table
from .measures import change, paired, percent
from .methods import Method, compared_methods
from .study import MethodResult

PARTS = ("ila", "dt", "cla", "cna")
"""Parts that have a weight of their own."""


@dataclass(frozen=True)
class Variant:
    """An alignment with some of its parts.

    Attributes:
        parts: those that keep their weight; the others have weight 0.
        directions: rule for directions; None keeps the configured one.
    """

    parts: tuple[str, ...]
    directions: Directions | None = None


_ITEM_LEVEL: Mapping[str, tuple[str, ...]] = {
    "ILA": ("ila",),
    "DT": ("dt",),
    "CLA": ("cla",),
    "ILA+CLA": ("ila", "cla"),
}
VARIANTS: Mapping[str, Mapping[str, Variant]] = {
    "fettle": {
        **{name: Variant(parts) for name, parts in _ITEM_LEVEL.items()},
        "FETTLE": Variant(("ila", "dt", "cla")),
    },
    "cross": {
        **{name: Variant(parts, "one_way") for name, parts in _ITEM_LEVEL.items()},
        "FETTLE": Variant(("ila", "dt", "cla"), "one_way"),
        "dynamic": Variant(("ila", "dt", "cla"), "dynamic"),
        "CNA": Variant(("cna",)),
        "FETTLE+CNA": Variant(PARTS, "one_way"),
        "CROSS": Variant(PARTS),
    },
}
"""Alignment of the configuration -> name -> what it is taken apart into; the last is the whole."""

STEPS = (
    ("CLA", "ILA", "ILA+CLA"),
    ("DT", "ILA+CLA", "FETTLE"),
    ("dynamic directions", "FETTLE", "dynamic"),
    ("CNA", "FETTLE", "FETTLE+CNA"),
    ("CNA", "dynamic", "CROSS"),
)
"""What is added, to which variant, and which one that gives."""


@dataclass(frozen=True)
class Step:
    """What a part adds to another variant.

    Attributes:
        data: name of the data set in a study of several.
        backbone: name of the backbone.
        added: the part.
        to: variant without it.
        gives: variant with it.
        change: relative change that it brings; None where there is nothing to relate to.
        difference: the same over users, p values corrected over all steps and metrics.
    """

    data: str
    backbone: str
    added: str
    to: str
    gives: str
    change: Measure | None
    difference: Difference


@dataclass(frozen=True)
class AblationReport:
    """Metric -> what each part adds to the others; the table of the study has the rest."""

    steps: Mapping[str, tuple[Step, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {metric: [asdict(step) for step in steps] for metric, steps in self.steps.items()}

    def lines(self) -> list[str]:
        """A table for each metric, of at most 80 columns; nothing where nothing was added."""
        return [line for metric in self.steps for line in ["", *self._table(metric)]]

    def sections(self) -> list[Html]:
        """The same for the page of the study."""
        rows = [[escape(cell) for cell in (m, *row)] for m in self.steps for row in self._rows(m)]
        table = markup.table(["metric", "", "adding", "changes it by", "p"], rows)
        return [markup.section("What each part adds", table)] if rows else []

    def _rows(self, metric: str) -> list[list[str]]:
        return [
            [
                f"{step.data} {step.backbone}+{step.to}".strip(),
                step.added,
                percent(step.change),
                f"{step.difference.p_value:.2g}",
            ]
            for step in self.steps[metric]
        ]

    def _table(self, metric: str) -> list[str]:
        rows = self._rows(metric)
        head = [f"test {metric}", "adding", "changes it by", "p"]
        return text_table(head, rows) if rows else []


def ablation_methods(configs: Sequence[RunConfig], names: Sequence[str] = ()) -> list[Method]:
    """Every configuration taken apart, each variant compared with the backbone alone.

    Weights and all other options are those of the configuration. All variants are the same
    alignment, so nothing but weights and the rule for directions differs.

    Args:
        configs: FETTLE or CROSS, at most one for each backbone and data set.
        names: variants to train; all by default.

    Raises:
        ConfigError: a configuration is of another alignment, stands twice or has no weight for a
            part, or a name is unknown.
    """
    methods: dict[tuple[str, str], Method] = {}
    for config, data in [(m.config, m.data) for m in compared_methods(configs)]:
        variants = _chosen(config, names)
        base = config.backbone.name
        if (data, base) in methods:
            raise ConfigError(
                f"two configurations take {base} apart: give one (cross holds fettle's parts too)"
            )
        methods[data, base] = Method(base, replace(config, alignment=None), data=data)
        for name, variant in variants.items():
            label = f"{base}+{name}"
            methods[data, label] = Method(label, _apply(config, variant), base, data)
    return list(methods.values())


def ablation_report(results: Sequence[MethodResult], metrics: Sequence[str]) -> AblationReport:
    """What each part adds on the test split, from what `run_study` made of the methods."""
    pairs = dict(_pairs({(result.data, result.label): result for result in results}))
    tested = correct(
        {
            (*key, metric): difference
            for key, (start, end) in pairs.items()
            for metric, difference in paired(end, start, metrics).items()
        }
    )

    def steps(metric: str) -> Iterator[Step]:
        for key, (start, end) in pairs.items():
            if (*key, metric) in tested:
                gain = change(end.test[metric], start.test[metric])
                yield Step(*key, gain, tested[(*key, metric)])

    return AblationReport({metric: tuple(steps(metric)) for metric in metrics})


_Key = tuple[str, str, str, str, str]


def _pairs(
    by_name: Mapping[tuple[str, str], MethodResult],
) -> Iterator[tuple[_Key, tuple[MethodResult, MethodResult]]]:
    """Data, backbone and step, with the results before and after it, where both were trained."""
    for (data, backbone), result in by_name.items():
        for added, to, gives in STEPS if result.base is None else ():
            start = by_name.get((data, f"{backbone}+{to}"))
            end = by_name.get((data, f"{backbone}+{gives}"))
            if start is not None and end is not None:
                yield (data, backbone, added, to, gives), (start, end)


def _chosen(config: RunConfig, names: Sequence[str]) -> Mapping[str, Variant]:
    name = config.alignment.name if config.alignment else "none"
    if config.alignment is None or name not in VARIANTS:
        raise ConfigError(f"ablate takes apart {' or '.join(VARIANTS)}, not '{name}'")
    known = VARIANTS[name]
    for wanted in names:
        if wanted not in known:
            raise unknown_name(f"variant of {name}", wanted, known)
    chosen = {name: variant for name, variant in known.items() if not names or name in names}
    for part in {part for variant in chosen.values() for part in variant.parts}:
        if not _weight(config.alignment, part):
            raise ConfigError(
                f"{name} on {config.backbone.name} has {part}_weight 0, so nothing can be said of "
                "it: set a weight, or choose --variants without it"
            )
    return chosen


def _weight(alignment: Component, part: str) -> float:
    """The weight of a part; direction tuning takes that of item-level alignment if it has none."""
    weight = alignment.options[f"{part}_weight"]
    return float(alignment.options["ila_weight"] if weight is None else weight)


def _apply(config: RunConfig, variant: Variant) -> RunConfig:
    assert config.alignment is not None
    options = dict(config.alignment.options)
    for part in PARTS:
        if f"{part}_weight" in options:
            kept = part in variant.parts
            options[f"{part}_weight"] = _weight(config.alignment, part) if kept else 0.0
    if variant.directions is not None:
        options["directions"] = variant.directions
    return replace(config, alignment=replace(config.alignment, options=options))
