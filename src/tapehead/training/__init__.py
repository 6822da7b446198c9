"""Training, evaluation and the folders of runs. Lightning is imported here and nowhere else, and only by training."""
