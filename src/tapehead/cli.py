"""The command line: `tapehead train`, `study`, `evaluate`, `plot`, `export`, `tune`, `info`."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import tapehead
from tapehead.errors import TapeheadError, UnknownNameError, did_you_mean, is_out_of_memory

__all__ = ["main"]

MISSING = 'This needs {name}, which is not installed. Install it with: pip install "tapehead[{extras}]"'

NO_ROOM = "Out of memory: {error} Take fewer or shorter sequences at a time, or a memory of fewer slots."

EXTRAS = {
    **dict.fromkeys(
        ("joblib", "jsonargparse", "lightning", "matplotlib", "numpy", "rich", "tensorboard", "yaml"), "train,plots"
    ),
    **dict.fromkeys(("PIL", "pooch"), "omniglot"),
    "huggingface_hub": "hub",
    "ray": "ray",
    "safetensors": "pretrained",
}
"""What brings the packages that tapehead imports, by the names of their modules."""

TAKING_OPTIONS = ("train", "study", "tune")
"""Commands that hand options they do not know to the parser of a run's configuration."""


OR_PRETRAINED = "name of a pretrained model, or exported folder"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 failed, 2 asked wrongly, 130 stopped by the user."""
    parser = _build_parser()
    arguments, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    if rest and arguments.command not in TAKING_OPTIONS:
        arguments.parser.refuse(rest[0])
    try:
        return arguments.run(arguments, rest)
    except ModuleNotFoundError as error:
        if "pip install" in str(error):
            return _fail(str(error), 1)
        extras = EXTRAS.get((error.name or "").partition(".")[0])
        if extras is None:  # tapehead's own, or one that a user's task imports
            raise
        return _fail(MISSING.format(name=error.name, extras=extras), 1)
    except BrokenPipeError:  # whoever read our output has gone, as `head` does
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 0
    except KeyboardInterrupt:
        return _fail("Stopped.", 130)
    except UnknownNameError as error:  # it may be near an option of the command's own as well
        return _fail(error.message + did_you_mean(error.name, [*error.known, *arguments.parser.options()]), 2)
    except TapeheadError as error:
        return _fail(str(error), error.exit_status)
    except Exception as error:
        if is_out_of_memory(error):
            return _fail(NO_ROOM.format(error=" ".join(str(error).split("\n")[0].split())), 1)
        # Lightning's own word for options that do not go together; known only once Lightning is imported.
        if type(error).__name__ != "MisconfigurationException":
            raise
        return _fail(str(error), 2)


class _Parser(argparse.ArgumentParser):
    """argparse's, whose errors are sentences that say what there is; its subcommands are of the same class."""

    def options(self) -> list[str]:
        """The names of its options, as the help has them."""
        return re.findall(r"^ +(?:-\w, )?(--[\w-]+)", self.format_help(), re.MULTILINE)

    def refuse(self, word: str) -> NoReturn:
        """Stop because of a word that is none of its own."""
        name = word.partition("=")[0]
        text = f"{name}: no such option." if name.startswith("-") else f"{name}: one word too many."
        self.error(f"{text}{did_you_mean(name, self.options())} `{self.prog} --help` lists what there is.")

    def error(self, message: str) -> NoReturn:
        if found := re.match(r"argument (\S+): invalid choice: '?([^' ]*)'? \(choose from (.*)\)", message):
            option, value, choices = found[1], found[2], re.findall(r"[\w.-]+", found[3])
            message = f"{option}: expected one of {', '.join(choices)}, got {value}.{did_you_mean(value, choices)}"
        elif found := re.match(r"argument (\S+): invalid int value: (.*)", message):
            message = f"{found[1]}: expected a whole number, got {found[2].strip(chr(39))}."
            if self.prog.endswith("evaluate") and found[1] in ("--lengths", "--repeats"):
                message += f" What follows {found[1]} is read as numbers: name the runs first."
        elif found := re.match(r"argument (\S+): (expected .*)", message):
            message = f"{found[1]}: {found[2]}"
        super().error(message)


def _count(text: str) -> int:
    """A length, a size or a number of sequences: one that torch can count to."""
    value = int(text)
    if abs(value) >= 2**31:
        raise argparse.ArgumentTypeError(f"expected less than {2**31:,}, got {text}.")
    return value


_count.__name__ = "int"  # for argparse's message of what is none


def _fail(message: str, status: int) -> int:
    print(f"tapehead: {message}", file=sys.stderr)
    return status


def _build_parser() -> _Parser:
    parser = _Parser(
        prog="tapehead",
        description="Neural Turing Machines: train them on the paper's tasks, evaluate them, look inside.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tapehead {tapehead.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    exact: dict[str, Any] = {"allow_abbrev": False}
    train = commands.add_parser(
        "train",
        help="train a model on a task, or go on with a run",
        usage="tapehead train TASK [--model MODEL] [--recipe RECIPE] [options]\n"
        "       tapehead train --resume RUN [--from CHECKPOINT] [options]",
        description="Train a model on a task: copy, repeat_copy, associative_recall, ngrams, priority_sort or "
        "omniglot. `tapehead train TASK --help` lists every option of task, model, optimiser and training, "
        "`tapehead train TASK --help-all` those of Lightning's Trainer as well.",
        add_help=False,
        **exact,
    )
    train.add_argument("--model", help="ntm (the default), mann or lstm; omniglot: mann by default")
    train.add_argument("--recipe", help="a recipe of the package, task/model, or a YAML file")
    train.add_argument("--resume", metavar="RUN", help="go on with the run in this folder")
    train.add_argument(
        "--from",
        dest="start",
        metavar="CHECKPOINT",
        help="with --resume: go back to this checkpoint, such as best",
    )
    train.add_argument("-h", "--help", action="store_true", help="this, and with TASK every option")
    train.set_defaults(run=_train)

    _add_study(commands)

    evaluate = commands.add_parser(
        "evaluate", help="score a trained model at lengths of your choice", allow_abbrev=False
    )
    evaluate.add_argument("runs", metavar="RUN", nargs="+", help=f"folder of a run, {OR_PRETRAINED}")
    evaluate.add_argument(
        "--lengths", type=_count, nargs="+", metavar="L", help="of the sequences; associative recall: how many items"
    )
    evaluate.add_argument("--repeats", type=_count, nargs="+", metavar="R", help="repeat copy: how often to repeat")
    evaluate.add_argument(
        "--memory-size", type=_count, metavar="N", help="slots (default: as trained, or more if needed)"
    )
    evaluate.add_argument("--sequences", type=_count, metavar="K", help="of each length (default: the task's own)")
    evaluate.add_argument("--seed", type=int, default=0, help="of the sequences (default 0)")
    evaluate.set_defaults(run=_evaluate)

    plot = commands.add_parser(
        "plot", help="draw learning curves, answers and the inside of the memory", allow_abbrev=False
    )
    plot.add_argument(
        "runs", metavar="RUN", nargs="+", help=f"folder of a run, {OR_PRETRAINED}; runs give mean and deviation"
    )
    plot.add_argument(
        "--length", type=_count, metavar="L", help="of the sequence drawn (default: the longest trained on)"
    )
    plot.add_argument("--repeats", type=_count, metavar="R", help="repeat copy: how often to repeat it")
    plot.add_argument("--memory-size", type=_count, metavar="N", help="slots (default: as trained, or more if needed)")
    plot.add_argument("--seed", type=int, default=0, help="of the sequence drawn (default 0)")
    plot.add_argument("--animate", action="store_true", help="also make a GIF of the memory at work, step by step")
    plot.add_argument("--out", metavar="DIR", help="where the pictures go (default: RUN/plots, or NAME-plots here)")
    plot.set_defaults(run=_plot)

    export = commands.add_parser("export", help="write a run's model into a folder for from_pretrained", **exact)
    export.add_argument("folder", metavar="RUN", help="folder of a run")
    export.add_argument("out", metavar="DIR", help="where the model goes; must not exist")
    export.add_argument("--checkpoint", metavar="FILE", help="of RUN/checkpoints (default: the best one)")
    export.set_defaults(run=_export)

    tune = commands.add_parser(
        "tune",
        help="find the fastest tiles and warps of the GPU's kernels for a model, once for each GPU",
        usage="tapehead tune TASK [--model MODEL] [--recipe RECIPE] [options]",
        description="Time a short list of tilings of the kernels for CUDA tensors, with the model and the batch that "
        "`tapehead train` with the same options would have, at the longest size trained on. The fastest are kept in "
        "the user's cache, and taken from then on. `tapehead train TASK --help` lists the options.",
        **exact,
    )
    tune.add_argument("--model", help="ntm (the default) or mann; omniglot: mann by default")
    tune.add_argument("--recipe", help="a recipe of the package, task/model, or a YAML file")
    tune.set_defaults(run=_tune)

    info = commands.add_parser("info", help="versions, devices, and which backends can run here", **exact)
    info.set_defaults(run=_info)
    for command in commands.choices.values():
        command.set_defaults(parser=command)
    return parser


def _add_study(commands: Any) -> None:
    study = commands.add_parser(
        "study",
        help="train many seeds of several models side by side; one table and one picture at the end",
        usage="tapehead study TASK [--models MODEL ...] [--seeds K] [options]",
        description="Train seeds x models side by side, evaluate each, and compare them in a table and a picture. "
        "Repeating the command goes on where it stopped. Options of `tapehead train`, such as "
        "--training.sequences 2000, are passed to every run; `tapehead train TASK --help` lists them.",
        allow_abbrev=False,
    )
    what = study.add_argument_group("what is trained")
    what.add_argument(
        "--models",
        nargs="+",
        action="extend",
        metavar="MODEL",
        help="models, recipes or YAML files (default ntm; omniglot: mann)",
    )
    what.add_argument("--seeds", type=int, default=10, metavar="K", help="how many (default 10)")
    what.add_argument("--first-seed", type=int, default=0, metavar="S", help="the lowest (default 0)")
    what.add_argument("--out", metavar="DIR", help="the study's folder (default runs/TASK-study-DATE-TIME)")
    where = study.add_argument_group("where it runs")
    where.add_argument("--workers", type=int, metavar="N", help="runs at a time (default: as many as cores)")
    where.add_argument("--threads", type=int, default=1, metavar="N", help="of each run (default 1)")
    where.add_argument(
        "--backend",
        choices=["joblib", "ray"],
        default="joblib",
        help="this machine (joblib, the default) or a cluster",
    )
    where.add_argument(
        "--together", action="store_true", help="train the seeds of a model in one process, in step: for a GPU"
    )
    study.add_argument("--train-orders", help=argparse.SUPPRESS)  # a file, which `--together` starts a process with
    where.add_argument("--address", metavar="ADDRESS", help="of the cluster: auto (the default), HOST:PORT, or local")
    scored = study.add_argument_group("how each run is scored, and drawn")
    scored.add_argument("--no-evaluation", action="store_true", help="only train")
    scored.add_argument(
        "--lengths", type=_count, nargs="+", metavar="L", help="to evaluate at (default: the task's own)"
    )
    scored.add_argument("--repeats", type=_count, nargs="+", metavar="R", help="repeat copy: how often to repeat")
    scored.add_argument(
        "--memory-size", type=_count, metavar="N", help="slots of models with a memory (default: as for evaluate)"
    )
    scored.add_argument("--sequences", type=_count, metavar="K", help="to evaluate, of each length")
    scored.add_argument("--band", action="store_true", help="draw mean and deviation, not every seed and the median")
    study.set_defaults(run=_study)


def _take_task(rest: list[str]) -> str | None:
    """The first word. argparse would take the value of an option that it does not know for it."""
    return rest.pop(0).replace("-", "_") if rest and not rest[0].startswith("-") else None


def _train(arguments: argparse.Namespace, rest: list[str]) -> int:
    task = _take_task(rest)
    if task is None and (arguments.help or "--help-all" in rest):
        arguments.parser.print_help()
        return 0
    from tapehead.training.train import train

    options = ["--help", *rest] if arguments.help else rest
    train(
        options,
        task=task,
        model=arguments.model,
        recipe=arguments.recipe,
        resume=arguments.resume,
        start=arguments.start,
    )
    return 0


def _study(arguments: argparse.Namespace, rest: list[str]) -> int:
    if arguments.train_orders is not None:
        from tapehead.studies.one_process import train_orders

        return train_orders(arguments.train_orders)
    task = _take_task(rest)
    from tapehead.studies.making import make_plan
    from tapehead.studies.study import run_study

    plan = make_plan(
        task,
        arguments.models,
        seeds=arguments.seeds,
        first_seed=arguments.first_seed,
        options=rest,
        evaluate=not arguments.no_evaluation,
        lengths=arguments.lengths,
        repeats=arguments.repeats,
        memory_size=arguments.memory_size,
        sequences=arguments.sequences,
    )
    runs = run_study(
        plan,
        arguments.out or f"runs/{task}-study-{time.strftime('%Y%m%d-%H%M%S')}",
        workers=arguments.workers,
        threads=arguments.threads,
        backend=arguments.backend,
        address=arguments.address,
        together=arguments.together,
        band=arguments.band,
    )
    return 1 if any(run.state == "died" for run in runs) else 0


def _evaluate(arguments: argparse.Namespace, rest: list[str]) -> int:
    from tapehead.training.report import check_runs, evaluate_run

    told = {"lengths": arguments.lengths, "repeats": arguments.repeats, "memory_size": arguments.memory_size}
    if len(arguments.runs) > 1:
        check_runs(arguments.runs, **told)
    for run in arguments.runs:
        evaluate_run(run, **told, sequences=arguments.sequences, seed=arguments.seed)
    return 0


def _plot(arguments: argparse.Namespace, rest: list[str]) -> int:
    from tapehead.pictures import plot_runs

    paths = plot_runs(
        arguments.runs,
        length=arguments.length,
        repeats=arguments.repeats,
        memory_size=arguments.memory_size,
        seed=arguments.seed,
        animate=arguments.animate,
        out=None if arguments.out is None else Path(arguments.out),
    )
    for path in paths:
        print(path)
    return 0


def _export(arguments: argparse.Namespace, rest: list[str]) -> int:
    from tapehead.training.export import export_run

    export_run(arguments.folder, arguments.out, checkpoint=arguments.checkpoint)
    print(arguments.out)
    return 0


def _tune(arguments: argparse.Namespace, rest: list[str]) -> int:
    task = _take_task(rest)
    from tapehead.training.tune import tune_task

    tune_task(rest, task=task, model=arguments.model, recipe=arguments.recipe)
    return 0


def _info(arguments: argparse.Namespace, rest: list[str]) -> int:
    from tapehead.info import describe

    print(describe())
    return 0
