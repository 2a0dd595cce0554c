"""What is in a data set, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ..datasets.describe import Coverage, DatasetReport, Degrees
from .text_table import WIDTH, text_table

MOST_NAMES = 10
"""Unread files that are named."""


def dataset_lines(found: DatasetReport) -> list[str]:
    """What `describe` found, as text lines of at most 80 columns."""
    return [line for block in _blocks(found) for line in block]


def _blocks(found: DatasetReport) -> Iterator[list[str]]:
    total = sum(found.interactions.values())
    yield [f"{found.name}"[:WIDTH]]
    yield text_table(
        ["users", "items", "interactions", *found.interactions, "sparsity"],
        [
            [
                *(f"{count:,}" for count in (found.n_users, found.n_items, total)),
                *(f"{count:,}" for count in found.interactions.values()),
                f"{found.sparsity:.4%}",
            ]
        ],
    )
    yield ["", "training interactions per"]
    yield text_table(
        ["", "min", "median", "mean", "p90", "max", "none"],
        [_degree_row("user", found.users), _degree_row("item", found.items)],
    )
    if found.modalities:
        yield ["", "content"]
        yield text_table(
            ["modality", "dim", "missing", "repeats", "norm mean", "norm max", "graph edges"],
            [_coverage_row(name, cover) for name, cover in found.modalities.items()],
        )
    if found.intake is not None:
        yield ["", *textwrap.wrap(found.intake.line(), WIDTH, subsequent_indent="  ")]
    if found.split_rule:
        yield textwrap.wrap(f"split: {found.split_rule}", WIDTH, subsequent_indent="  ")
    if found.unread:
        more = len(found.unread) - MOST_NAMES
        names = ", ".join(found.unread[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
        yield textwrap.wrap(f"not read, beside the data: {names}", WIDTH, subsequent_indent="  ")
    if found.warnings:
        yield ["", "warnings"]
        for warning in found.warnings:
            yield textwrap.wrap(warning, WIDTH, initial_indent="- ", subsequent_indent="  ")


def _degree_row(kind: str, degrees: Degrees) -> list[str]:
    spread = (degrees.min, degrees.median, degrees.mean, degrees.p90, degrees.max)
    return [kind, *(f"{value:,.4g}" for value in spread), f"{degrees.without:,}"]


def _coverage_row(name: str, cover: Coverage) -> list[str]:
    norms = (cover.norm_mean, cover.norm_max)
    return [
        name,
        "-" if cover.dim is None else f"{cover.dim:,}",
        f"{cover.missing:,}",
        f"{cover.duplicates:,}",
        *("-" if norm is None else f"{norm:.4g}" for norm in norms),
        f"{cover.graph_edges:,}",
    ]
