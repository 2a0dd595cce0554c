"""`crossalign recommend-setup`: a first configuration for a data set."""

from __future__ import annotations

import argparse

from .arguments import DATA_HELP, add_out_file
from .parser import Commands, run_config


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add(
        "recommend-setup",
        recommend,
        "write a first configuration for a data set, with a reason beside each choice",
        example="planted -o setup.yaml",
        configured=True,
    )
    command.add_argument("data", nargs="?", help=DATA_HELP)
    add_out_file(command, "YAML file for train --config")


def recommend(options: argparse.Namespace) -> None:
    """Look at the data, write the configuration, and show it."""
    from ..datasets import load_dataset
    from ..fileio import write_text
    from ..tuning.setup import recommend_setup, setup_yaml

    config = run_config(options)
    dataset = load_dataset(config.path, options=config.data)
    text = setup_yaml(dataset, recommend_setup(dataset, config))
    write_text(options.out, text)
    print(f"{text}\nwritten to {options.out}\ntrain it    crossalign train --config {options.out}")
