"""The MMSSL and DiffMM layout: three pickled SciPy matrices, and content by modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from .content import read_content
from .dataset import Dataset
from .mmrec import MOST_IDS_A_ROW
from .options import DataOptions
from .safe_pickle import load_matrix
from .splits import TEST, TRAIN, VALID, choose_labels, split_pairs, split_rule

FILES = {TRAIN: "trnMat.pkl", VALID: "valMat.pkl", TEST: "tstMat.pkl"}
PAPER = "Wei et al., MMSSL, WWW 2023; the layout of TikTok"
EXPECTS = f"{', '.join(FILES.values())} (MMSSL: SciPy pickles)"
OPTIONS = ("split", "split_seed", "swap_valid_test")


def recognises(path: Path) -> bool:
    """Whether `path` is a folder with one of the three matrices."""
    return path.is_dir() and any((path / name).exists() for name in FILES.values())


def read(path: Path, options: DataOptions) -> Dataset:
    """Read a data set in MMSSL's layout.

    Each matrix is users x items, all of one shape; every non-zero entry is an interaction. Row r
    of `<modality>_feat.npy` belongs to item r.

    Raises:
        DataError: a file is missing, broken, or a pickle that asks for anything but a matrix.
    """
    absent = [name for name in FILES.values() if not (path / name).is_file()]
    if absent:
        raise DataError(f"{path}: lacks {', '.join(absent)}; MMSSL data have all three matrices")
    matrices = {label: load_matrix(path / name) for label, name in FILES.items()}
    shape = matrices[TRAIN].shape
    for label, matrix in matrices.items():
        if matrix.shape != shape:
            raise DataError(
                f"{path / FILES[label]}: shape {matrix.shape} differs from {shape} of "
                f"{FILES[TRAIN]}; all three are users x items"
            )
    n_rows = sum(matrix.nnz for matrix in matrices.values())
    if max(shape) > MOST_IDS_A_ROW * (n_rows + 1000):
        raise DataError(f"{path}: {n_rows} entries in matrices of shape {shape}; is it damaged?")
    users = np.concatenate([matrix.row for matrix in matrices.values()]).astype(np.int64)
    items = np.concatenate([matrix.col for matrix in matrices.values()]).astype(np.int64)
    given = np.repeat(list(matrices), [matrix.nnz for matrix in matrices.values()])
    if options.swap_valid_test:
        given = np.array([TRAIN, TEST, VALID])[given]
    if not options.hold_out:  # a pair in two matrices is one training row
        once = np.unique(users * shape[1] + items, return_index=True)[1]
        users, items, given = users[once], items[once], given[once]
    splits = split_pairs(path, users, items, choose_labels(path, users, options, given=given))
    content = read_content(path, np.arange(shape[1]), options, all_items=True)
    return Dataset(
        name=path.resolve().name,
        n_users=int(shape[0]),
        n_items=int(shape[1]),
        **splits,
        **content.fields(),
        split_rule=split_rule(options, given=True),
    )
