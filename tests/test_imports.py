"""Imports go one way, and `import tapehead` takes torch and nothing else."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


@pytest.mark.slow_start
def test_import_takes_torch_and_nothing_else():
    script = (
        "import sys, json, torch; before = set(sys.modules); import tapehead; "
        "print(json.dumps([sorted(set(sys.modules) - before), sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    new, everything = json.loads(done.stdout)
    packages = {name.partition(".")[0] for name in new} - set(sys.stdlib_module_names)
    assert packages <= {"tapehead", "torch"}
    parts = {name.split(".")[1] for name in new if name.startswith("tapehead.")}
    assert parts <= NN
    absent = {"lightning", "pytorch_lightning", "matplotlib", "jsonargparse", "tensorboard", "rich", "yaml", "triton"}
    absent |= {"safetensors", "huggingface_hub", "pooch", "PIL", "requests"}
    assert not absent & {name.partition(".")[0] for name in everything}


@pytest.mark.slow_start
def test_the_tasks_take_torch_and_trained_weights_safetensors_and_nothing_else():
    script = (
        "import sys, torch; before = set(sys.modules); import tapehead; "
        "tapehead.tasks.Omniglot(data='nowhere'); print(*sorted(set(sys.modules) - before)); "
        "tapehead.from_pretrained('copy-ntm'); print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    tasks, weights = (
        {name.partition(".")[0] for name in line.split()} - set(sys.stdlib_module_names)
        for line in done.stdout.splitlines()
    )
    assert tasks <= {"tapehead", "torch"}
    assert weights <= {"tapehead", "torch", "safetensors"}
