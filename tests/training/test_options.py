"""Training options: defaults, ranges and one-line errors."""

import dataclasses

import pytest
import torch

from crossalign.errors import ConfigError
from crossalign.training import TrainingOptions


def test_defaults_are_the_usual_protocol():
    options = TrainingOptions()
    assert (options.epochs, options.batch_size, options.learning_rate) == (1000, 2048, 3e-3)
    assert (options.patience, options.monitor) == (20, "recall@20")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"epochs": 0}, "option 'training.epochs' is 0: input should be greater"),
        ({"batch_size": -3}, "option 'training.batch_size' is -3"),
        ({"learning_rate": 0}, "option 'training.learning_rate' is 0"),
        ({"learning_rate": float("nan")}, "option 'training.learning_rate' is nan"),
        ({"learning_rate": "fast"}, "option 'training.learning_rate' is 'fast'"),
        ({"weight_decay": -1e-4}, "option 'training.weight_decay' is -0.0001"),
        ({"lr_decay": 1.5}, "option 'training.lr_decay' is 1.5"),
        ({"lr_decay_epochs": 0}, "option 'training.lr_decay_epochs' is 0"),
        ({"patience": -1}, "option 'training.patience' is -1"),
        ({"eval_every": 0}, "option 'training.eval_every' is 0"),
        ({"negative_power": -1}, "option 'training.negative_power' is -1"),
        ({"checkpoint_every": 0}, "option 'training.checkpoint_every' is 0"),
        ({"device": "tpu"}, "option 'training.device' is 'tpu'"),
        ({"epoch": 3}, "unknown training option 'epoch': did you mean 'epochs'?"),
        ({"monitor": "recal@20"}, "unknown metric 'recal': did you mean 'recall'?"),
        ({"monitor": "recall"}, "metric 'recall' has no cut-off: write it as 'recall@20'"),
        ({"monitor": "ndcg@0"}, "metric 'ndcg@0' has no cut-off"),
    ],
)
def test_bad_option_gives_one_line(option, message):
    with pytest.raises(ConfigError) as error:
        TrainingOptions(**option)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_numbers_written_as_text_are_read():
    """YAML gives `1e-4` as text."""
    assert TrainingOptions(learning_rate="1e-4").learning_rate == 1e-4


def test_options_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingOptions().epochs = 3


def test_every_option_is_described():
    fields = TrainingOptions.__pydantic_fields__
    assert len(fields) == len(dataclasses.fields(TrainingOptions))
    assert all(field.description for field in fields.values())


def test_round_trip():
    options = TrainingOptions(epochs=3, monitor="ndcg@10")
    assert TrainingOptions(**dataclasses.asdict(options)) == options


def test_cpu_is_always_there():
    assert TrainingOptions(device="cpu").torch_device() == torch.device("cpu")
