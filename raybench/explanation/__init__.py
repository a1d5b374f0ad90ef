"""What a trained network does with one date: hidden states, gates, attention, gradients, importance."""

__all__ = ["explanation", "importance", "job", "subject"]
