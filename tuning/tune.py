"""A whole search: what is left to try, over processes, and what came out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from ..config import RunConfig, load_config, to_plain, to_yaml
from ..datasets import load_dataset
from ..errors import RunError
from ..fileio import write_text
from ..graphs import dataset_hash
from ..locks import only_writer
from ..progress import Bar
from ..report.page_files import write_page
from ..report.study_files import STUDIES_FILE
from ..run_files import REPORT_FILE
from ..run_folder import refuse_run_folder
from ..studies.processes import process_pool
from .outcome import TrialRecord, best_yaml, records, render, to_json
from .space import check_space, config_at, read_space, space_yaml
from .trials import DATABASE, Tuning, finished, number_of, run_trial

BASE_FILE = "base.yaml"
SPACE_FILE = "space.yaml"
BEST_FILE = "best.yaml"
_DATA = "data_hash"


@dataclass(frozen=True)
class TuningResult:
    """What a search found.

    Attributes:
        folder: with `best.yaml`, `report.html`, `trials.json` and the database.
        config: the best configuration.
        trials: all trials, best first.
        metric: the validation metric.
    """

    folder: Path
    config: RunConfig
    trials: tuple[TrialRecord, ...]
    metric: str

    @property
    def best(self) -> TrialRecord:
        """The trial of the highest validation metric."""
        return self.trials[0]


def tune(
    tuning: Tuning, n_trials: int, *, jobs: int = 1, progress: bool = True, command: str = ""
) -> TuningResult:
    """Try until there are `n_trials` outcomes; a killed search goes on where it was.

    The first trial is the configuration itself, as far as it lies in the space. Pruned and failed
    trials count; those of killed processes are tried again. Choices are made on validation only,
    and the test split is not read.

    Args:
        tuning: configuration, space, folder and seed.
        n_trials: number of outcomes in the folder at the end, those of earlier calls included.
        jobs: processes at a time; the machine's threads are shared among them.
        progress: show a progress bar.
        command: command line to repeat the search, for the report.

    Raises:
        ConfigError: the space does not fit the configuration.
        RunError: the folder holds another search, or no trial was completed.
    """
    check_space(tuning.space, tuning.config)
    refuse_run_folder(tuning.folder)
    with only_writer(tuning.folder):
        return _tune(tuning, n_trials, jobs=jobs, progress=progress, command=command)


def _tune(
    tuning: Tuning, n_trials: int, *, jobs: int, progress: bool, command: str
) -> TuningResult:
    """`tune`, by the only process that writes into the folder."""
    try:
        study = _prepare(tuning)
        _run(tuning, study, n_trials, jobs=jobs, progress=progress)
        trials = records(finished(study), tuning)
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise RunError(
            f"{tuning.folder / DATABASE} cannot be used ({reason}): free some space, or choose "
            "another --out if the file is damaged"
        ) from error
    if not trials or trials[0].state != "complete":
        reason = next((trial.error for trial in trials if trial.error), "all were pruned")
        raise RunError(f"no trial of {tuning.folder} was completed ({reason}): change the space")
    best = config_at(tuning.config, trials[0].params)
    result = TuningResult(tuning.folder, best, trials, tuning.metric)
    write_text(tuning.folder / BEST_FILE, best_yaml(best, trials[0], tuning.metric))
    write_text(tuning.folder / "trials.json", to_json(trials, tuning, command))
    write_page(tuning.folder / REPORT_FILE, render(trials, best, tuning, command))
    return result


def _prepare(tuning: Tuning) -> optuna.Study:
    """The study of the folder, ready to go on; refuses that of other settings or data."""
    folder, data_hash = tuning.folder, _data_hash(tuning.config)
    base, space = folder / BASE_FILE, folder / SPACE_FILE
    if (folder / STUDIES_FILE).is_file():
        raise RunError(f"{folder} holds a study, whose report would be lost: choose another --out")
    if base.is_file() and to_plain(load_config(base)) != to_plain(tuning.config):
        raise RunError(f"{folder} holds a search from another configuration: choose another --out")
    if space.is_file() and dict(read_space(space)) != dict(tuning.space):
        raise RunError(f"{folder} holds a search of another space: choose another --out")
    write_text(base, to_yaml(tuning.config))
    write_text(space, space_yaml(tuning.space))
    study = tuning.study()
    if study.user_attrs.setdefault(_DATA, data_hash) != data_hash:
        raise RunError(
            f"{folder} was tuned on other data than {tuning.config.path} holds now: restore the "
            "data or choose another --out"
        )
    study.set_user_attr(_DATA, data_hash)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):  # of a killed process
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _data_hash(config: RunConfig) -> str:
    return dataset_hash(load_dataset(config.path, options=config.data))


def _own_values(tuning: Tuning) -> dict[str, object]:
    """The values that the configuration itself has, as far as the space holds them."""
    plain = to_plain(tuning.config)
    own = {key: plain[key.partition(".")[0]][key.partition(".")[2]] for key in tuning.space}
    return {key: value for key, value in own.items() if tuning.space[key].contains(value)}


def _tasks(
    tuning: Tuning, study: optuna.Study, n_trials: int
) -> list[tuple[int, dict[str, object]]]:
    """Indices that have no outcome yet, and the values that they must have.

    A trial that a kill cut off is run again under its index, so that it counts once and draws what
    it drew; the first of all has the values of the configuration.
    """
    done = {number_of(trial) for trial in finished(study)}
    left = (index for index in itertools.count() if index not in done)
    cut_off: dict[int, dict[str, object]] = {}
    for trial in study.get_trials(states=(TrialState.FAIL,)):
        cut_off.setdefault(number_of(trial), {}).update(trial.params)
    own = {0: _own_values(tuning)}
    return [
        (index, own.get(index, {}) | cut_off.get(index, {}))
        for index in itertools.islice(left, max(0, n_trials - len(done)))
    ]


def _run(tuning: Tuning, study: optuna.Study, n_trials: int, *, jobs: int, progress: bool) -> None:
    """Run what is missing of `n_trials`, with a progress bar."""
    tasks = _tasks(tuning, study, n_trials)
    for _ in Bar(
        _outcomes(tuning, tasks, jobs),
        total=len(tasks),
        desc="trials",
        unit="trial",
        disable=not progress,
    ):
        pass


def _outcomes(
    tuning: Tuning, tasks: Sequence[tuple[int, dict[str, object]]], jobs: int
) -> Iterator[None]:
    """Run the trials, one after another or in several processes; yields after each."""
    if jobs == 1:
        for index, values in tasks:
            run_trial(tuning, index, values)
            yield
        return
    with process_pool(jobs) as pool:
        for future in as_completed([pool.submit(run_trial, tuning, *task) for task in tasks]):
            yield future.result()
