"""What a run can be told, and how it is said.

The dataclasses in `config` and `models` make the command line, its help and the YAML files. `arguments` makes a
`config.RunConfig` of a command line and recipes, `help` shows the options with their `kinds`, and `refusals` says why
one is refused.
"""
