"""Full-ranking evaluation and recommendation lists."""

from .directions import DirectionAgreement, direction_agreement
from .metrics import METRIC_NAMES, Metrics, parse_metric, user_metrics
from .options import EvaluationOptions
from .ranking import DEFAULT_KS, Evaluator, evaluate
from .recommend import recommend
from .scores import BlockScorer

__all__ = [
    "DEFAULT_KS",
    "METRIC_NAMES",
    "BlockScorer",
    "DirectionAgreement",
    "EvaluationOptions",
    "Evaluator",
    "Metrics",
    "direction_agreement",
    "evaluate",
    "parse_metric",
    "recommend",
    "user_metrics",
]
