"""Reports that people look at: one self-contained HTML file per run, and per study."""

from .run_report import write_report
from .study_report import MethodRuns, write_study_report

__all__ = ["MethodRuns", "write_report", "write_study_report"]
