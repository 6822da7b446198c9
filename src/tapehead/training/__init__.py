"""Training, evaluation and the folders of runs. Lightning is imported here and nowhere else, and only by training.

The ways in: `train.train` for one run and `together.train_together` for several in one process, `evaluate.evaluate`
for a model and `report.evaluate_run` for what a user can name (`trained_models`), `export.export_run`, `tune`. A run's
folder is a `runs.Run`, its configuration an `options.config.RunConfig`. `updates` computes the updates, which
`lightning` puts into Lightning's steps.
"""
