"""Trained weights: folders of a `config.json` and a `model.safetensors`, those of the package and a user's own.

What is in such a folder is read as data; nothing in it is ever executed. The models are built in `tapehead.nn`.
"""

from tapehead.pretrained.catalogue import find, locate, names
from tapehead.pretrained.folder import CONFIG_NAME, WEIGHTS_NAME, read_config, read_tensors, write_folder
from tapehead.pretrained.hub import push_to_hub

__all__ = [
    "CONFIG_NAME",
    "WEIGHTS_NAME",
    "find",
    "locate",
    "names",
    "push_to_hub",
    "read_config",
    "read_tensors",
    "write_folder",
]
