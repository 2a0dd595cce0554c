"""`crossalign controls`: how much of an alignment's gain needs the real content."""

from __future__ import annotations

import argparse
import json

from .arguments import add_set, add_study, how_to_run
from .matrix import add_matrix, compared_configs
from .parser import Commands
from .studies import table_metrics

CONTROLS_FILE = "controls.json"


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add(
        "controls",
        controls,
        "train alignments on shuffled, constant and random content",
        example="presets/planted/3-lightgcn-cross.yaml --out runs/controls",
    )
    add_matrix(command)
    add_set(command)
    add_study(command, seeds="0,1,2")


def controls(options: argparse.Namespace) -> None:
    """Train every configuration under every content; print what of its gain survives."""
    from ..fileio import write_text
    from ..locks import only_writer
    from ..report import write_study_report
    from ..studies.content_controls import control_methods, control_report
    from ..studies.study import run_study, study_files

    methods = control_methods(compared_configs(options))
    kind = options.command
    results = run_study(methods, options.seeds, options.out, kind=kind, **how_to_run(options))
    metrics = table_metrics(results)
    found = control_report(methods, results, metrics)
    print("\n".join(found.lines()))
    with only_writer(options.out):
        files = study_files(options.out, kind, methods, options.seeds)
        write_text(files.path(CONTROLS_FILE), json.dumps(found.to_dict(), indent=2) + "\n")
        report = write_study_report(
            files, results, metrics, title="Content controls", command=options.command_line
        )
    print(f"\nstudy folder  {options.out}\nreport        {report}")
