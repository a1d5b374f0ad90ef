"""What a loop or a predictor reads: batches of windows or of whole dates, and the memory of losses."""

__all__ = ["batches", "feeds", "memory", "reader", "recall", "streaming", "world"]
