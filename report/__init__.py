"""Reports that people look at: one self-contained HTML file per run, and per study."""

from .run_report import write_report
from .study_cells import MethodRuns, StudyTable
from .study_files import StudyFiles, claim_files
from .study_report import write_study, write_study_report
from .study_table import study_table
from .study_table_formats import format_markdown, format_terminal, write_tables

__all__ = [
    "MethodRuns",
    "StudyFiles",
    "StudyTable",
    "claim_files",
    "format_markdown",
    "format_terminal",
    "study_table",
    "write_report",
    "write_study",
    "write_study_report",
    "write_tables",
]
