"""What Lightning is given: a module whose step is many updates, its loaders and callbacks, and the Trainer for them.

`trainer.build` makes all of them for a run.
"""
