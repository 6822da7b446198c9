"""Imports go one way, and `import tapehead` takes torch and nothing else."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tapehead

ROOT = Path(tapehead.__file__).parent

# Who may import whom: parts of tapehead, and other packages than the standard library.
NN = {"nn", "ops", "backends", "cache", "core", "errors", "files", "pretrained", "states", "traces"}
ALLOWED = {
    "errors": set(),
    "cache": set(),
    "files": set(),
    "states": {"torch"},
    "traces": {"states", "torch"},
    "core": {"errors"},
    "backends": {"core", "errors", "torch"},
    "ops": {"ops", "backends", "cache", "core", "files", "states", "traces", "torch", "triton"},
    "nn": {*NN, "torch"},
    "pretrained": {"pretrained", "errors", "files", "torch", "safetensors", "huggingface_hub"},
    "tasks": {"tasks", "cache", "errors", "files", "torch", "numpy", "PIL", "pooch", "requests", "tqdm"},
    "testing": {"states", "torch"},
    "plots": {"plots", "traces", "errors", "torch", "matplotlib", "mpl_toolkits", "numpy", "PIL"},
    "program": {"errors", "tasks"},
    "training": {
        "training",
        "program",
        "tasks",
        *NN,
        "torch",
        "lightning",
        "jsonargparse",
        "yaml",
        "rich",
        "tensorboard",
    },
    "studies": {"studies", "training", "files", "program", "plots", "tasks", "errors", "yaml", "rich", "joblib", "ray"},
    "info": {*NN, "torch"},
    "pictures": {"plots", "training", "files", "tasks", "errors", "nn", "traces", "torch", "matplotlib"},
    "cli": {"cli", "info", "pictures", "studies", "training", "plots", "tasks", *NN, "torch", "rich", "lightning"},
}
ALLOWED["__init__"] = NN | {"torch"}  # the public face
ALLOWED["__main__"] = {"cli"}


def part_of(file: Path) -> str:
    return file.relative_to(ROOT).with_suffix("").parts[0]


def imported(file: Path) -> Iterator[str]:
    """Parts of tapehead and names of other packages that a file imports, anywhere in it.

    `import tapehead` and its names stand for the public face, so for `nn`.
    """
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            paths = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            # `from tapehead import backends` imports a part as well as `from tapehead.backends import ...` does.
            paths = [f"{node.module}.{name.name}" for name in node.names]
        else:
            continue
        for path in paths:
            package, *rest = path.split(".")
            if package != "tapehead":
                yield package
            elif rest and ((ROOT / rest[0]).is_dir() or (ROOT / f"{rest[0]}.py").is_file()):
                yield rest[0]
            elif rest != ["__version__"]:
                yield "nn"


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(ROOT)) for file in FILES])
def test_imports_go_one_way(file: Path):
    part = part_of(file)
    assert part in ALLOWED, f"{part} is new: say in ALLOWED what it may import"
    foreign = {name for name in imported(file) if name not in sys.stdlib_module_names}
    assert foreign <= ALLOWED[part]


def test_the_rules_have_no_circle():
    parts = {part: {name for name in allowed - {part} if name in ALLOWED} for part, allowed in ALLOWED.items()}
    while parts:
        free = {part for part, needs in parts.items() if not needs & parts.keys()}
        assert free, f"a circle among {sorted(parts)}"
        parts = {part: needs for part, needs in parts.items() if part not in free}


SCRIPT = """
import json, os, sys
import torch

before = set(sys.modules)
stages = {}

def stage(name):
    stages[name] = [sorted(set(sys.modules) - before), sorted(sys.modules)]

if other := os.fork():
    assert os.waitpid(other, 0)[1] == 0
    import tapehead
    from tapehead import core
    stages["core loaded"] = core._load.cache_info().currsize
    stage("tapehead")
    tapehead.tasks.Omniglot(data="nowhere")
    stage("tasks")
    tapehead.from_pretrained("copy-ntm")
    stage("weights")
else:
    import tapehead.plots
    stage("plots")
print(json.dumps(stages), flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def stages() -> dict[str, Any]:
    """What a process imports that has imported torch alone: what is new at each stage, and all that is there then.

    The pictures are looked at in a process of their own, which it starts when there is only torch.
    """
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    plots, others = map(json.loads, done.stdout.splitlines())
    return {**plots, **others}


def packages(names: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)


@pytest.mark.slow_start
def test_import_takes_torch_and_nothing_else(stages):
    new, everything = stages["tapehead"]
    assert packages(new) <= {"tapehead", "torch"}
    parts = {name.split(".")[1] for name in new if name.startswith("tapehead.")}
    assert parts <= NN
    absent = {"lightning", "pytorch_lightning", "matplotlib", "jsonargparse", "tensorboard", "rich", "yaml", "triton"}
    absent |= {"safetensors", "huggingface_hub", "pooch", "PIL", "requests"}
    assert not absent & {name.partition(".")[0] for name in everything}


@pytest.mark.slow_start
def test_import_does_not_load_the_core(stages):
    assert stages["core loaded"] == 0


@pytest.mark.slow_start
def test_the_tasks_take_torch_and_trained_weights_safetensors_and_nothing_else(stages):
    assert packages(stages["tasks"][0]) <= {"tapehead", "torch"}
    assert packages(stages["weights"][0]) <= {"tapehead", "torch", "safetensors"}


@pytest.mark.slow_start
def test_pictures_need_no_pyplot_and_no_training(stages):
    _, everything = stages["plots"]
    assert "tapehead.plots" in everything
    assert not {"matplotlib.pyplot", "lightning", "tapehead.training", "tapehead.tasks"} & set(everything)
