"""Reports that people look at: one self-contained HTML file per run, and per comparison."""

from .comparison import Comparison, Method, compare, write_comparison
from .run_report import write_report

__all__ = ["Comparison", "Method", "compare", "write_comparison", "write_report"]
