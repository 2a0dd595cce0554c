"""How much of the gain of an alignment is alignment with content, and how much regularisation.

An alignment is trained with the real features and with features that say nothing of their item
(`datasets.controls`). The part of its gain over the backbone alone that a control keeps cannot
come from content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from ..components import reads_content
from ..config import RunConfig
from ..datasets.options import ContentKind
from ..errors import ConfigError
from ..report.numbers import measure
from ..report.text_table import text_table
from .methods import Method, compared_methods, method_label
from .study import MethodResult

CONTENTS: tuple[ContentKind, ...] = get_args(ContentKind)
"""The real content, `given`, and the controls."""
READING = (
    "survives: the share of the gain with the given content that the control keeps.",
    "That much is regularisation; the rest is alignment with content. No share is",
    "given where the gain is not larger than its spread over seeds.",
)


@dataclass(frozen=True)
class ControlGain:
    """Gain of an alignment over its backbone alone, under one content.

    Attributes:
        data: name of the data set in a study of several.
        method: `backbone+alignment`.
        content: `given` or a control.
        alone: mean metric of the backbone alone.
        gain: mean difference from it, seed by seed.
        spread: sample standard deviation of the differences; None for one seed.
        survives: share of the gain with the given content that this control keeps, which is
            regularisation; the rest is alignment with content. None for `given`, and where the
            given content brought no gain beyond its spread.
    """

    data: str
    method: str
    content: ContentKind
    alone: float
    gain: float
    spread: float | None
    survives: float | None


@dataclass(frozen=True)
class ControlReport:
    """Metric -> gains of every method under every content."""

    gains: Mapping[str, tuple[ControlGain, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {metric: [asdict(gain) for gain in gains] for metric, gains in self.gains.items()}

    def lines(self) -> list[str]:
        """A table for each metric, of at most 80 columns."""
        tables = [line for metric, gains in self.gains.items() for line in _table(metric, gains)]
        return [*tables, *READING]


def control_methods(configs: Sequence[RunConfig]) -> list[Method]:
    """Every configuration under every content, and what it is compared with, for `run_study`.

    The base is the backbone alone; a backbone that reads content is trained alone under every
    content too, so that a gain is always the alignment's. Ready item graphs are left out
    throughout, so that all graphs come from the features at hand.

    Raises:
        ConfigError: a configuration has no alignment, or other content already.
    """
    methods: dict[tuple[str, str], Method] = {}
    for config, data in [(m.config, m.data) for m in compared_methods(configs)]:
        if config.alignment is None:
            raise ConfigError(
                f"backbone '{config.backbone.name}' has no alignment to control: set alignment in "
                "its configuration; the backbone alone is trained anyway"
            )
        if config.data.content != "given":
            raise ConfigError(
                f"{method_label(config)} has data.content {config.data.content} already: leave it "
                "out, every content is trained"
            )
        alone_reads = reads_content(replace(config, alignment=None))
        for content in CONTENTS:
            aligned = _with_content(config, content)
            alone = _with_content(config, content if alone_reads else "given")
            alone = replace(alone, alignment=None)
            label, base = _label(aligned), _label(alone)
            if (data, base) in methods and methods[data, base].config != alone:
                base = f"{base}-for-{label}"
            methods.setdefault((data, base), Method(base, alone, data=data))
            if (data, label) in methods:
                raise ConfigError(
                    f"two configurations are called {method_label(config)}: give one of each"
                )
            methods[data, label] = Method(label, aligned, base, data)
    return list(methods.values())


def control_report(
    methods: Sequence[Method], results: Sequence[MethodResult], metrics: Sequence[str]
) -> ControlReport:
    """Gains and what survives of them, on the test split.

    Args:
        methods: of `control_methods`.
        results: what `run_study` made of them.
        metrics: such as `recall@20`.
    """
    by_name = {(result.data, result.label): result for result in results}
    return ControlReport({metric: tuple(_gains(methods, by_name, metric)) for metric in metrics})


def _gains(
    methods: Sequence[Method], results: Mapping[tuple[str, str], MethodResult], metric: str
) -> Iterator[ControlGain]:
    given: dict[tuple[str, str], float | None] = {}
    for method in methods:
        if method.base is None:
            continue
        data, name = method.data, method_label(method.config)
        content = method.config.data.content
        alone = results[data, method.base].test[metric]
        aligned = results[data, method.label].test[metric]
        gain = measure([ours - base for ours, base in zip(aligned, alone, strict=True)])
        if content == "given":  # comes first
            given[data, name] = gain.mean if gain.mean > (gain.spread or 0.0) else None
        whole = given[data, name] if content != "given" else None
        survives = None if whole is None else gain.mean / whole
        mean = measure(alone).mean
        yield ControlGain(data, name, content, mean, gain.mean, gain.spread, survives)


def _with_content(config: RunConfig, content: ContentKind) -> RunConfig:
    return replace(config, data=replace(config.data, content=content, item_graphs=False))


def _label(config: RunConfig) -> str:
    content = config.data.content
    return method_label(config) + ("" if content == "given" else f"-{content}")


def _table(metric: str, gains: Sequence[ControlGain]) -> list[str]:
    rows = [
        [
            f"{gain.data} {gain.method}".strip() if gain.content == "given" else "",
            gain.content,
            f"{gain.alone:.4f}",
            f"{gain.gain:+.4f}" + ("" if gain.spread is None else f" ± {gain.spread:.4f}"),
            f"{gain.gain / gain.alone:+.1%}" if gain.alone else "–",
            "–" if gain.survives is None else f"{gain.survives:.0%}",
        ]
        for gain in gains
    ]
    head = ["", "content", "alone", "gain", "", "survives"]
    return [f"test {metric}", *text_table(head, rows), ""]
