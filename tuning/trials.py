"""One trial: a training that is judged on validation after every epoch, and may be cut short."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from ..components import make_modules
from ..config import RunConfig
from ..datasets import load_dataset
from ..errors import RunError
from ..training import FitResult, RunContext, fit
from .space import Space, config_at

DATABASE = "trials.db"
ERROR = "error"
REPEATED = "repeats"
INDEX = "index"
"""Of a trial among the outcomes asked for; one that a kill cut off leaves it to the next."""
_STUDY = "tuning"
_WAIT = 120
"""Seconds that a process waits while others write to the database."""


@dataclass(frozen=True)
class Tuning:
    """What is tuned.

    Attributes:
        config: the configuration that trials vary.
        space: key -> values.
        folder: where the database of trials lies.
        seed: of the choice of values; trainings have the seed of the configuration.
        prune: stop trials that fall behind the median of the others at the same epoch.
    """

    config: RunConfig
    space: Space
    folder: Path
    seed: int = 0
    prune: bool = True

    @property
    def metric(self) -> str:
        """The validation metric that is maximised."""
        return self.config.training.monitor

    def study(self, index: int = 0, fixed: Mapping[str, Any] | None = None) -> optuna.Study:
        """The stored study, which asks for the trial number `index`.

        Args:
            index: number of the trial, from which its draws follow.
            fixed: key -> value that is taken and not drawn.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = RDBStorage(
            f"sqlite:///{self.folder.resolve() / DATABASE}",
            engine_kwargs={"connect_args": {"timeout": _WAIT}},
        )
        draws = int(np.random.SeedSequence([self.seed, index]).generate_state(1)[0])
        return optuna.create_study(
            storage=storage,
            study_name=_STUDY,
            direction="maximize",
            load_if_exists=True,
            sampler=_Sampler(draws, fixed or {}),
            pruner=optuna.pruners.MedianPruner() if self.prune else optuna.pruners.NopPruner(),
        )


class _Sampler(TPESampler):
    """Optuna's own sampler, but for values that are fixed.

    Optuna's queue of trials would do the same, but two processes may take one trial from it.
    """

    def __init__(self, seed: int, fixed: Mapping[str, Any]) -> None:
        super().__init__(seed=seed)
        self._fixed = fixed

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        # Drawn in any case, so that the draws after it are those of a trial with nothing fixed.
        drawn = super().sample_independent(study, trial, param_name, param_distribution)
        return self._fixed.get(param_name, drawn)


def run_trial(tuning: Tuning, index: int, fixed: Mapping[str, Any] | None = None) -> None:
    """Run the trial number `index`, with the values `fixed`, and store what comes out.

    A combination that was tried before gets the stored result. A training that breaks off, for
    example because a loss is not finite, is a failed trial; other errors are the caller's.
    """
    study = tuning.study(index, fixed)
    trial = study.ask()
    trial.set_user_attr(INDEX, index)
    params = {key: dimension.suggest(trial, key) for key, dimension in tuning.space.items()}
    twin = _twin(study, params)
    if twin is not None:
        trial.set_user_attr(REPEATED, number_of(twin))
        study.tell(trial, twin.value)
        return
    started = time.perf_counter()
    try:
        result = _train(tuning, config_at(tuning.config, params), trial)
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except RunError as error:
        trial.set_user_attr(ERROR, str(error))
        study.tell(trial, state=TrialState.FAIL)
    else:
        trial.set_user_attr("best_epoch", result.best_epoch)
        trial.set_user_attr("valid", dict(result.best_valid))
        trial.set_user_attr("seconds", time.perf_counter() - started)
        study.tell(trial, result.best_valid[tuning.metric])


def number_of(trial: FrozenTrial) -> int:
    """The index that a trial was asked for; searches of earlier versions know its number alone."""
    return int(trial.user_attrs.get(INDEX, trial.number))


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials with an outcome, in order; those of killed processes are left out."""
    done = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    return [
        trial
        for trial in study.get_trials(states=done)
        if trial.state != TrialState.FAIL or ERROR in trial.user_attrs
    ]


def _train(tuning: Tuning, config: RunConfig, trial: Trial) -> FitResult:
    """What `pipeline.train` does up to the fit: the test split is not read."""
    dataset = load_dataset(config.path, options=config.data)
    backbone, alignment = make_modules(config, dataset)

    def judge(row: dict[str, Any]) -> None:
        value = row.get(f"valid/{tuning.metric}")
        if value is not None:
            trial.report(value, row["epoch"])
            if trial.should_prune():
                raise optuna.TrialPruned

    return fit(
        backbone,
        dataset,
        config.training,
        alignment=alignment,
        seed=config.seed,
        context=RunContext(progress=False, on_epoch=judge),
    )


def _twin(study: optuna.Study, params: dict[str, Any]) -> FrozenTrial | None:
    """An earlier complete trial of the same values."""
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    return next((trial for trial in complete if trial.params == params), None)
