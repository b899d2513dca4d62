"""Several configs on one catalogue with the same seeds, steps and data: training and tables."""
