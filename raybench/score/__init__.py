"""From a trained run to scores: the predictor and the score table."""
