"""Features on disk: rows as in memory, in any training, and one line where the file will not do."""

import numpy as np
import pytest
import torch

from crossalign.errors import DataError
from crossalign.training import MappedTable, TrainingOptions


@pytest.mark.parametrize(
    ("stored", "given"),
    [("float16", torch.float32), ("float32", torch.float32), ("float64", torch.float64)],
)
def test_rows_are_those_of_the_file(tmp_path, stored, given):
    table = np.random.default_rng(0).standard_normal((9, 4)).astype(stored)
    np.save(tmp_path / "text.npy", table)
    mapped = MappedTable(tmp_path / "text.npy")
    ids = torch.tensor([8, 0, 0, 3])
    rows = mapped[ids]
    assert (mapped.shape, len(mapped), rows.dtype) == ((9, 4), 9, given)
    assert torch.equal(rows, torch.from_numpy(table[ids.numpy()]).to(given))
    rows.zero_()
    assert torch.equal(mapped.to("cpu")[ids], torch.from_numpy(table[ids.numpy()]).to(given))


def test_training_is_that_on_features_in_memory(tmp_path, run_tiny, tiny_dataset):
    np.save(tmp_path / "text.npy", tiny_dataset.features["text"].numpy())
    options = TrainingOptions(epochs=3, batch_size=64)
    memory, _ = run_tiny(None, options)
    disk, _ = run_tiny(None, options, features={"text": MappedTable(tmp_path / "text.npy")})
    assert disk.history == memory.history


@pytest.mark.parametrize(
    "content", ["nothing", "text", "half", "absurd", "archive", "integers", "vector", "objects"]
)
def test_unusable_file_gives_one_line(tmp_path, content):
    path = tmp_path / "text.npy"
    arrays = {
        "integers": np.ones((3, 2), dtype=np.int64),
        "vector": np.ones(3),
        "objects": np.array([[None]]),
    }
    if content == "text":
        path.write_text("no array")
    elif content == "half":
        np.save(path, np.ones((3, 2)))
        path.write_bytes(path.read_bytes()[:-1])
    elif content == "absurd":
        np.save(path, np.ones((3, 2)))
        path.write_bytes(path.read_bytes().replace(b"(3, 2), ", b"(3, '(',"))
    elif content == "archive":
        np.savez(tmp_path / "text.npz", np.ones((3, 2)))
        (tmp_path / "text.npz").rename(path)
    elif content != "nothing":
        np.save(path, arrays[content])
    with pytest.raises(DataError, match=r"text\.npy") as error:
        MappedTable(path)
    assert "\n" not in str(error.value)
