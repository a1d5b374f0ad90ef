"""What a trained network does with one date: hidden states, gates, attention, gradients, importance."""
