"""How good scores are: figures, daily series and a report."""

from raybench.evaluate.evaluation import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
