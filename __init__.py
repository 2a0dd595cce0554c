"""crossalign: feedback-oriented multi-modal alignment for any recommender."""
