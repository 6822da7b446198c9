"""What the documentation says is done: its Python runs, its commands run in tiny form, its links lead somewhere."""

from __future__ import annotations

import argparse
import doctest
import importlib
import itertools
import re
import shlex
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest

from tapehead import pretrained
from tapehead.cli import _build_parser, main
from tapehead.ops import tunings_file
from tapehead.ops.tilings import USUAL
from tapehead.ops.tuner import Timing, Tuning
from tapehead.program import TAPEHEAD
from tapehead.studies import one_process, worker
from tapehead.tasks import TASKS
from tapehead.training import tune
from tapehead.training.options.arguments import build_parser
from tapehead.training.options.models import MODELS
from tests import examples
from tests.training import tiny

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / "docs", ROOT / "examples", ROOT / "src"]
PAGES = [ROOT / "README.md", *(path for folder in FOLDERS for path in sorted(folder.rglob("*.md")))]
FENCE = re.compile(r"^([ ]*)```(\w*)[^\n]*\n(.*?)^\1```[ ]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(
    r"\]\(\s*<?([^()\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s*(\S+)|(?:src|href)=\"([^\"]+)\"", re.MULTILINE
)
TINY_TRAINER = ["--trainer.devices=1", "--trainer.strategy=auto"]
TINY_TRAINING = {**tiny.TRAINING, "training.sequences": 16}
"""To the first validation."""


class Block(NamedTuple):
    """A fenced block, or one line of it."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        indent, language, body = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, language, re.sub(f"^{indent}", "", body, flags=re.MULTILINE)))
    return found


def _commands(block: Block) -> list[Block]:
    """Every `tapehead ...` of a shell block, out of loops and pipes, its lines joined and its variables filled in.

    `python task.py ...` is one as well, where the file hands its words to tapehead's command line, and so is
    `python examples/NAME.py ...`.
    """
    found = []
    for match in re.finditer(r"(?:.*\\\n)*.+", block.text):
        text = re.sub(r"\s\d>&\d", "", match[0].replace("\\\n", " "))
        words = shlex.shlex(re.sub(r"\$\{?\w+\}?", "0", text), posix=True, punctuation_chars=True)
        words.whitespace_split = True
        for operator, group in itertools.groupby(words, lambda word: bool(word) and not set(word) - set("();<>|&")):
            command = [] if operator else list(itertools.dropwhile(_is_no_command, group))
            if re.match(r"tapehead( |$)|python (examples/)?\w+\.py( |$)", " ".join(command)):
                line = block.line + 1 + block.text.count("\n", 0, match.start())
                found.append(block._replace(line=line, text=shlex.join(command)))
    return found


def _is_no_command(word: str) -> bool:
    return word in ("$", "do", "then", "time") or re.match(r"\w+=", word) is not None


BLOCKS = [block for page in PAGES for block in _blocks(page)]
PYTHON = [block for block in BLOCKS if block.language in ("python", "py")]
COMMANDS = [command for block in BLOCKS if block.language in ("sh", "bash", "shell") for command in _commands(block)]


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory) -> Callable[[str, Path], None]:
    """Put a trained run, tiny and trained once for each task, where the documentation says there is one."""
    made: dict[str, Path] = {}

    def put(task: str, path: Path) -> None:
        if task not in made:
            made[task] = tmp_path_factory.mktemp("docs") / task
            assert tiny.train(made[task], "--training.sequences=16", task=task) == 0
        if not path.exists():
            shutil.copytree(made[task], path)

    return put


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder of its own to work in and to import from; what was imported, and the tasks it named, go with it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with mock.patch.dict(TASKS):
        yield tmp_path
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def _file_name(block: Block) -> str | None:
    """What a block that begins with `# name.yaml` or `# name.py` is the whole file of."""
    suffix = {"yaml": "ya?ml", "yml": "ya?ml", "python": "py"}.get(block.language)
    named = re.match(rf"#\s*(\S+\.{suffix})\n", block.text) if suffix else None
    return named and named[1]


def _write_files(page: Path, folder: Path) -> None:
    for block in _blocks(page):
        name = _file_name(block)
        if name:
            (folder / name).write_text(block.text)


def _ids(blocks: list[Block]) -> list[str]:
    return [f"{block.where} {block.text}" if "\n" not in block.text else block.where for block in blocks]


@pytest.mark.parametrize("block", PYTHON, ids=_ids(PYTHON))
def test_python_runs(block: Block, elsewhere, tiny_run):
    for name in re.findall(r"[\"'](RUN|runs/[^\"'/]+)", block.text):
        tiny_run("copy", elsewhere / name)
    _write_files(block.page, elsewhere)
    name = _file_name(block)
    if name:
        importlib.import_module(name.removesuffix(".py"))
        return
    namespace = types.ModuleType("__main__").__dict__
    if ">>>" not in block.text:
        exec(compile("\n" * block.line + block.text, str(block.page), "exec"), namespace)
        return
    example = doctest.DocTestParser().get_doctest(block.text, namespace, block.where, str(block.page), block.line)
    said: list[str] = []
    failed, _ = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert not failed, "".join(said)


@pytest.fixture(autouse=True)
def runs_in_process(monkeypatch):
    """The runs of a study start no processes here: tests/studies has them start some."""
    monkeypatch.setattr(worker, "_run", lambda words, order, stop, lock: main(words))

    def train(command: list[str], *_: object) -> int:
        return one_process.train_orders(command[-1])

    monkeypatch.setattr(one_process, "run_process", train)
    monkeypatch.setattr(worker, "program_of", lambda task: TAPEHEAD)  # which here is pytest


@pytest.fixture(autouse=True)
def tunes_nothing(monkeypatch):
    """There need be no GPU: `tapehead tune` makes its model and its batch, and tests/nn/test_tuning.py tunes some."""
    key = tunings_file.Key("a GPU", "3.6.0", "0123", "ntm", "forward", "float32", 8, "")
    monkeypatch.setattr(tune, "check", lambda model: None)
    monkeypatch.setattr(tune, "tune", lambda *_: [Tuning(key, "forward", (Timing(USUAL, 1.0),))])


@pytest.mark.parametrize("command", COMMANDS, ids=_ids(COMMANDS))
def test_command_runs_in_tiny_form(command: Block, elsewhere, tiny_run, capsys, signed, unrendered):
    _write_files(command.page, elsewhere)
    program, *words = shlex.split(command.text)
    if program == "python" and words[0].startswith("examples/"):
        examples.run(ROOT / words[0], words[1:])
        return
    if program == "python":
        importlib.import_module(words.pop(0).removesuffix(".py"))
    _put_runs(words, elsewhere, tiny_run)
    words += _tiny_options(words)
    try:
        status = main(words)
    except SystemExit as stop:  # argparse's own way out, of --help as of an unknown option
        status = stop.code
    assert not status, f"{command.where}: {command.text}\nas: tapehead {shlex.join(words)}\n{capsys.readouterr().err}"


def _put_runs(words: list[str], folder: Path, tiny_run: Callable[[str, Path], None]) -> None:
    """Make every run that a command names, and write those that a pattern names in its place."""
    task = "repeat_copy" if "--repeats" in words or any("repeat" in word for word in words) else "copy"
    task = "associative_recall" if any("recall" in word for word in words) else task
    named = []
    if words[:1] == ["train"]:
        for option in ("--resume", "--config", "--recipe"):
            named += [words[at + 1] for at, word in enumerate(words[:-1]) if word == option]
            named += [word.partition("=")[2] for word in words if word.startswith(f"{option}=")]
        named = [name.removesuffix("/config.yaml") for name in named if not re.search(r"(?<!/config)\.ya?ml$", name)]
        named = [name for name in named if "--recipe" not in words or name != words[words.index("--recipe") + 1]]
    elif words[:1] in (["evaluate"], ["plot"]):
        for word in words[1:]:
            if word.startswith("-"):
                break
            named.append(word)
    elif words[:1] == ["export"]:
        named.append(words[1])
    for name in named:
        if name in pretrained.names():
            continue
        replacements = [name.replace("*", number) for number in ("1", "2")] if "*" in name else [name]
        at = words.index(name) if name in words else None
        if at is not None:
            words[at : at + 1] = replacements
        for replacement in replacements:
            tiny_run(task, folder / replacement)


def _tiny_options(words: list[str]) -> list[str]:
    """Options that make a command small; where it has them already the later ones count."""
    if not words or {"-h", "--help"} & set(words):
        return []
    if words[0] == "evaluate":
        return ["--sequences", "2"]
    if words[0] == "study":
        return _tiny_study_options(words)
    if words[0] != "train":
        return []
    task = next((word.replace("-", "_") for word in words[1:2] if not word.startswith("-")), None)
    lstm = any(word in ("lstm", "--model=lstm") or "/lstm" in word for word in words)
    model = {**tiny.MODEL, **({"model.num_layers": 1} if lstm else tiny.MEMORY)}
    options = {**tiny.TASKS.get(task or "", tiny.TASKS["copy"]), **model, **TINY_TRAINING}
    return [*(f"--{name}={value}" for name, value in options.items()), *TINY_TRAINER]


def _tiny_study_options(words: list[str]) -> list[str]:
    """One seed, on this machine, with options that every model has; `runs_in_process` runs it."""
    task = tiny.TASKS.get(words[1].replace("-", "_"), tiny.TASKS["copy"])
    options = [f"--{name}={value}" for name, value in {**task, **tiny.MODEL, **TINY_TRAINING}.items()]
    for name in ("--address", "--out"):  # of machines and folders that are not here
        if name in words:
            del words[words.index(name) : words.index(name) + 2]
    few = ["--seeds", "1", "--workers", "1", "--sequences", "1", "--lengths", "2"]
    return [*few, "--backend", "joblib", "--out", "runs/tiny-study", *options]


def test_every_model_of_the_package_is_on_its_page():
    page = (ROOT / "docs" / "pretrained.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([\w-]+-(?:ntm|mann|lstm)[\w-]*)` \|", page, re.MULTILINE) == pretrained.names()


def _links() -> list[tuple[Path, str]]:
    found = []
    for page in PAGES:
        text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
        targets = dict.fromkeys(next(filter(None, groups)) for groups in LINK.findall(text))
        found += [(page, target) for target in targets if not re.match(r"[a-z][a-z+.-]*:|//", target)]
    return found


@pytest.mark.parametrize(("page", "target"), _links(), ids=lambda value: str(value).removeprefix(f"{ROOT}/"))
def test_link_leads_somewhere(page: Path, target: str):
    name, _, anchor = target.partition("#")
    path = page.parent / name if name else page
    assert path.exists(), f"{page.relative_to(ROOT)}: no {target}"
    assert ROOT in path.resolve().parents, f"{page.relative_to(ROOT)}: {target} leads out of the repository"
    if anchor:
        assert anchor in _anchors(path), f"{page.relative_to(ROOT)}: {target}, there are {sorted(_anchors(path))}"


def _anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub turns them into anchors."""
    headings = re.findall(r"^#+\s+(.*?)\s*$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "text",
    [
        "tapehead train copy --task.colour red",
        "tapehead train copy --trainer.colour=red",
        "tapehead train sing",
        "tapehead train copy --model gru",
        "tapehead train copy --recipe copy/no-such",
        "tapehead evaluate RUN --colour 3",
        "tapehead plot RUN --colour red",
        "tapehead study copy --task.colour red",
        "tapehead study copy --models gru",
        "tapehead tune copy --task.colour red",
        "tapehead tune copy --model lstm",
        "tapehead sing",
    ],
)
def test_a_wrong_command_would_be_found(text: str, elsewhere, tiny_run, capsys):
    (command,) = _commands(Block(ROOT / "README.md", 1, "sh", text))
    with pytest.raises(AssertionError, match="README"):
        test_command_runs_in_tiny_form(command, elsewhere, tiny_run, capsys, None, None)


def test_commands_are_found_where_a_shell_finds_them():
    text = (
        "pip install .\n"
        "$ tapehead info 2>&1 | head\n"
        "tapehead train copy \\\n    --seed 3  # a comment; tapehead plot\n"
        "for seed in 0 1; do tapehead train copy --out 'a; b' --seed $seed; done\n"
        "OMP_NUM_THREADS=1 tapehead plot runs/* > pictures && tapehead info\n"
        "python task.py train mine && python -m benchmarks.kernels\n"
        "python examples/text.py --model lstm\n"
    )
    found = _commands(Block(ROOT / "README.md", 1, "sh", text))
    assert [(command.line, shlex.split(command.text)[1:]) for command in found] == [
        (3, ["info"]),
        (4, ["train", "copy", "--seed", "3"]),
        (6, ["train", "copy", "--out", "a; b", "--seed", "0"]),
        (7, ["plot", "runs/*"]),
        (7, ["info"]),
        (8, ["task.py", "train", "mine"]),
        (9, ["examples/text.py", "--model", "lstm"]),
    ]


@pytest.fixture(scope="module")
def options() -> set[str]:
    """Every option of every command."""
    parser = _build_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    parsers = [parser, *commands.choices.values(), *(build_parser(task, model) for task in TASKS for model in MODELS)]
    found = {name for parser in parsers for action in parser._actions for name in action.option_strings}
    return found | {name for path in examples.PATHS for name in examples.options(path)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_named_in_the_text_exist(page: Path, options: set[str]):
    spans = re.findall(r"`([^`]+)`", FENCE.sub("", page.read_text(encoding="utf-8")))
    text = " ".join(span for span in spans if span.startswith(("--", "tapehead ")))
    named = re.findall(r"(?<!\S)--[a-zA-Z][\w.-]*", text)
    assert {name for name in named if not name.endswith(".NAME")} <= options
