"""Score weights by a criterion and draw the masks of a round."""

from workers.pruning.criteria import CRITERIA, Candidate, criterion

__all__ = ["CRITERIA", "Candidate", "criterion"]
