"""How good scores are: figures, daily series and a report."""
