"""Training and comparison of several configs with the same seeds, steps and data."""
