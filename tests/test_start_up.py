"""Commands that only look around answer soon: what takes long to import stays out of them."""

import subprocess
import sys

import pytest

LATE = ("dgl", "implicit", "matplotlib", "pandas", "pyarrow", "scipy", "sklearn")
SHOW = """
import sys
from crossalign.cli import main
try:
    main(sys.argv[1:2])
except SystemExit:
    pass  # how argparse ends --help
print(",".join(name for name in sys.argv[2:] if name in sys.modules))
"""


@pytest.mark.parametrize(("command", "late"), [("list", LATE), ("--help", (*LATE, "torch"))])
def test_looking_around_imports_little(command: str, late: tuple[str, ...]) -> None:
    try:
        run = subprocess.run(
            [sys.executable, "-c", SHOW, command, *late], capture_output=True, text=True, check=True
        )
    except subprocess.CalledProcessError as error:
        pytest.fail(error.stderr)
    assert run.stdout.splitlines()[-1] == ""
    assert len(run.stdout.splitlines()) > 10
