"""Evidence of a user's items, added to the scores of any trained model; nothing is trained."""

from .choice import Choice, Stage
from .kinds import EVIDENCE, Evidence
from .options import EvidenceOptions
from .stage import Candidates, EvidenceScorer, HistoryEvidence

__all__ = [
    "EVIDENCE",
    "Candidates",
    "Choice",
    "Evidence",
    "EvidenceOptions",
    "EvidenceScorer",
    "HistoryEvidence",
    "Stage",
]
