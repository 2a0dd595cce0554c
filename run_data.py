"""The data of a run, as they were when it was trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .config import RunConfig
from .datasets import Dataset, load_dataset
from .errors import ConfigError
from .fileio import read_json
from .graphs import dataset_hash
from .run_files import METRICS_FILE
from .run_folder import refuse_other_data


def data_of_run(folder: Path, config: RunConfig) -> tuple[RunConfig, Dataset]:
    """The data set of the run in `folder`, and its configuration, which then says how to read it.

    Earlier versions kept the rows of a table in the order of the file. Where that order gives the
    data that the run was trained on, it is read so, with the same splits.

    Args:
        folder: run folder; of an unfinished run, or of none, any data are right.
        config: its configuration, with the place where the data lie now.

    Raises:
        RunError: the run was trained on other data.
    """
    dataset = load_dataset(config.path, options=config.data)
    if not (folder / METRICS_FILE).is_file():
        return config, dataset
    found = dataset_hash(dataset)
    recorded = read_json(folder / METRICS_FILE).get("data_hash", found)  # older runs have none
    if recorded != found and config.data.row_order == "sorted":
        former = replace(config, data=replace(config.data, row_order="file"))
        try:
            as_written = load_dataset(config.path, options=former.data)
        except ConfigError:  # this layout has no order of rows
            as_written = dataset
        if dataset_hash(as_written) == recorded:
            return former, as_written
    refuse_other_data(folder, config.path, found)
    return config, dataset
