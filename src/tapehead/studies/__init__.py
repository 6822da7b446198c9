"""Many runs: seeds x models, side by side on this machine or over a cluster, that end with one table and one picture.

Nothing here trains. A run is started as a process of `tapehead train`, and known by its folder. `making.make_plan` and
`study.run_study` are the way in; this file imports neither, because machines of a cluster need only `worker`, which
starts faster without Lightning.
"""
