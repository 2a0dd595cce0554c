"""What this installation can do, what it lacks, and the command that mends each lack.

Nothing but the standard library is imported before it is looked at, so that the doctor also works
where DGL, FAISS or torch are missing or broken.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

_INSTALL_SELF = "python -m pip install -c constraints.txt -e ."
_INSTALL_CUDA = "conda env create -f environment.yml"
_FAISS_BUILDS = ("faiss-cpu", "faiss-gpu-cu12", "faiss-gpu", "faiss")
"""FAISS is published under many names; any of them will do."""

_PLAIN_DGL = (
    "Plain `import dgl` fails beside this torch: write `from crossalign import dgl`. For programs "
    "without crossalign, in their own environment: "
    "python -m pip install --no-deps dgl==1.1.3 torchdata==0.7.1"
)


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was looked at.
        value: what was found.
        mend: the command that mends it, or None where nothing is wrong.
        advice: a command for those who want more, where nothing is wrong.
    """

    name: str
    value: str
    mend: str | None = None
    advice: str | None = None


@dataclass(frozen=True)
class DoctorReport:
    """Findings by heading.

    Attributes:
        system: interpreter and platform.
        packages: one finding per requirement of crossalign.
        engines: DGL, torch CSR and FAISS.
        hardware: CUDA device and threads.
    """

    system: tuple[Finding, ...] = ()
    packages: tuple[Finding, ...] = ()
    engines: tuple[Finding, ...] = ()
    hardware: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order in which they are printed."""
        return self.system + self.packages + self.engines + self.hardware

    @property
    def missing(self) -> tuple[Finding, ...]:
        """The findings that have to be mended before all of crossalign works."""
        return tuple(finding for finding in self.findings if finding.mend)

    def lines(self) -> list[str]:
        """The report as text for a terminal."""
        return [*self._findings(), *self._commands()]

    def _findings(self) -> Iterator[str]:
        width = max((len(finding.name) for finding in self.findings), default=0)
        for heading in ("system", "packages", "engines", "hardware"):
            yield heading.capitalize()
            for finding in getattr(self, heading):
                yield f"  {finding.name:{width}}  {finding.value}"

    def _commands(self) -> Iterator[str]:
        if not self.missing:
            yield "Nothing is missing."
        for command in dict.fromkeys(finding.mend for finding in self.missing):
            names = ", ".join(finding.name for finding in self.missing if finding.mend == command)
            yield f"To mend {names}, run:  {command}"
        for finding in self.findings:
            if finding.advice:
                yield f"To have {finding.name}, run:  {finding.advice}"


def collect() -> DoctorReport:
    """Look at the interpreter, the packages, the engines and the hardware. Never raises."""
    requirements = _requirements()
    return DoctorReport(
        system=(
            Finding("python", f"{platform.python_version()} ({sys.executable})"),
            Finding("platform", platform.platform()),
        ),
        packages=_packages(requirements),
        engines=(
            _probe("DGL", _dgl, _install("dgl", requirements)),
            _probe("torch CSR", _torch_csr, _install("torch", requirements)),
            _probe("FAISS", _faiss, _install("faiss-cpu", requirements)),
        ),
        hardware=(
            _probe("CUDA", _cuda, _install("torch", requirements)),
            _probe("threads", _threads, _install("torch", requirements)),
        ),
    )


def _requirements() -> dict[str, str]:
    """Distribution name -> version range, for everything that crossalign requires."""
    from packaging.requirements import Requirement

    try:
        parsed = [Requirement(text) for text in metadata.requires("crossalign") or []]
    except metadata.PackageNotFoundError:
        return {}
    needed = [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": ""})]
    return {one.name: str(one.specifier) for one in needed}


def _packages(requirements: dict[str, str]) -> tuple[Finding, ...]:
    """The package itself and everything it requires, with the installed versions."""
    own = _version("crossalign")
    if own is None:
        return (Finding("crossalign", "not installed", mend=_INSTALL_SELF),)
    packages = (_package(name, requirements) for name in requirements)
    return (Finding("crossalign", own), *packages)


def _package(name: str, requirements: dict[str, str]) -> Finding:
    """Whether distribution `name` is there, in the range that is required."""
    from packaging.specifiers import SpecifierSet

    version, needed = _version(name), requirements[name]
    if version is None:
        return Finding(name, "not installed", mend=_install(name, requirements))
    if not SpecifierSet(needed).contains(version, prereleases=True):
        mend = f'python -m pip install "{name}{needed}"'
        return Finding(name, f"{version}, but {needed} is needed", mend=mend)
    return Finding(name, version)


def _version(name: str) -> str | None:
    """Version of the installed distribution `name`, or None."""
    for candidate in _FAISS_BUILDS if name == "faiss-cpu" else (name,):
        try:
            return metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return None


def _install(name: str, requirements: dict[str, str]) -> str:
    """The command that installs `name`, or installs it anew where it is there but broken."""
    if not requirements:
        return _INSTALL_SELF
    again = "--force-reinstall --no-deps " if _version(name) else ""
    return f'python -m pip install {again}"{name}{requirements[name]}"'


def _probe(name: str, look: Callable[[], str | Finding], mend: str) -> Finding:
    """What `look` finds; whatever it raises becomes a finding with the command `mend`.

    A broken native library raises anything from ImportError to OSError, AttributeError or
    RuntimeError, and each of them is just what the doctor is asked to tell.
    """
    try:
        found = look()
    except Exception as error:
        cause = error.__cause__ or error
        reason = str(cause).partition("\n")[0] or "no reason given"
        value = f"does not work: {type(cause).__name__}: {reason}"
        return Finding(name, value, mend=_install_missing(cause) or mend)
    return found if isinstance(found, Finding) else Finding(name, found)


def _install_missing(error: BaseException) -> str | None:
    """The command that installs the undeclared dependency that `error` is about, if it is."""
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or name in ("", "dgl", "faiss", "torch"):
        return None
    return f"python -m pip install {name}"


def _dgl() -> str:
    """How DGL was imported: as it is, or with stand-ins for parts that do not fit this torch."""
    status = importlib.import_module("..graphs.dgl_import", __package__).dgl_status()
    return status if status == "native" else f"{status}. {_PLAIN_DGL}"


def _faiss() -> str:
    """FAISS version and whether it reaches a GPU.

    Looked at here and not by `tensors.faiss_import`, whose error hides what is missing.
    """
    faiss = importlib.import_module("faiss")
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    return f"{faiss.__version__} on {f'{gpus} GPU' if gpus else 'the CPU'}"


def _torch_csr() -> str:
    """A small sparse product with a known result, on the device that a run would use."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    ones = torch.ones(3, 2, device=device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        product = torch.eye(3, device=device).to_sparse_csr() @ ones
    if not torch.equal(product, ones):
        raise RuntimeError("the product of a sparse CSR matrix is wrong")
    return f"works on {device}"


def _cuda() -> str | Finding:
    """The CUDA device, or why there is none."""
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.mem_get_info()[1] / 2**30
        return f"{torch.version.cuda}, {torch.cuda.get_device_name()}, {memory:.0f} GiB"
    if shutil.which("nvidia-smi") is None:
        return "no NVIDIA driver found, everything runs on the CPU"
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU"
    value = f"a driver is here, but this torch, built for {built}, does not reach a device"
    return Finding("CUDA", value, advice=_INSTALL_CUDA)


def _threads() -> str:
    """Threads that torch uses, cores that it may use, and the settings that matter."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    settings = ", ".join(
        f"{name}={os.environ.get(name, 'unset')}" for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")
    )
    return f"{torch.get_num_threads()} on {cores} cores ({settings})"
