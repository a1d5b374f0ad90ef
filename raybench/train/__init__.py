"""From panels to trained weights: the loop, its feeds, checkpoints and the run directory."""
