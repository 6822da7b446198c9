"""The command line: `tapehead train`, `evaluate`, `plot`, `export`, `info`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tapehead
from tapehead.errors import TapeheadError

__all__ = ["main"]

MISSING = 'This needs {error.name}, which is not installed. Install it with: pip install "tapehead[train,plots]"'


OR_PRETRAINED = "name of a pretrained model, or exported folder"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 failed, 2 asked wrongly, 130 stopped by the user."""
    parser = _build_parser()
    arguments, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    if rest and arguments.command != "train":
        parser.error(f"unknown options: {' '.join(rest)}. `tapehead {arguments.command} --help` lists what there is.")
    try:
        return arguments.run(arguments, rest)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tapehead"):
            raise
        return _fail(MISSING.format(error=error), 1)
    except BrokenPipeError:  # whoever read our output has gone, as `head` does
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 0
    except KeyboardInterrupt:
        return _fail("Stopped.", 130)
    except TapeheadError as error:
        return _fail(str(error), error.exit_status)
    except Exception as error:
        # Lightning's own word for options that do not go together; known only once Lightning is imported.
        if type(error).__name__ != "MisconfigurationException":
            raise
        return _fail(str(error), 2)


def _fail(message: str, status: int) -> int:
    print(f"tapehead: {message}", file=sys.stderr)
    return status


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
        usage="tapehead train [TASK] [--model MODEL] [--recipe RECIPE] [--resume RUN] [options]",
        description="Train a model on a task: copy, repeat_copy or associative_recall. "
        "`tapehead train TASK --help` lists every option of task, model, "
        "optimiser, training and Lightning's Trainer.",
        add_help=False,
        **exact,
    )
    train.add_argument("--model", help="ntm (the default) or lstm")
    train.add_argument("--recipe", help="a recipe of the package, task/model, or a YAML file")
    train.add_argument("--resume", metavar="RUN", help="go on with the run in this folder")
    train.add_argument("-h", "--help", action="store_true", help="this, and with TASK every option")
    train.set_defaults(run=_train, parser=train)

    evaluate = commands.add_parser(
        "evaluate", help="score a trained model at lengths of your choice", allow_abbrev=False
    )
    evaluate.add_argument("runs", metavar="RUN", nargs="+", help=f"folder of a run, {OR_PRETRAINED}")
    evaluate.add_argument(
        "--lengths", type=int, nargs="+", metavar="L", help="of the sequences; associative recall: how many items"
    )
    evaluate.add_argument("--repeats", type=int, nargs="+", metavar="R", help="repeat copy: how often to repeat")
    evaluate.add_argument("--memory-size", type=int, metavar="N", help="slots, when other than trained with")
    evaluate.add_argument("--sequences", type=int, default=100, metavar="K", help="of each length (default 100)")
    evaluate.add_argument("--seed", type=int, default=0, help="of the sequences (default 0)")
    evaluate.set_defaults(run=_evaluate)

    plot = commands.add_parser(
        "plot", help="draw learning curves, answers and the inside of the memory", allow_abbrev=False
    )
    plot.add_argument(
        "runs", metavar="RUN", nargs="+", help=f"folder of a run, {OR_PRETRAINED}; runs give mean and deviation"
    )
    plot.add_argument("--length", type=int, metavar="L", help="of the sequence drawn (default: the longest trained on)")
    plot.add_argument("--repeats", type=int, metavar="R", help="repeat copy: how often to repeat it")
    plot.add_argument("--memory-size", type=int, metavar="N", help="slots, when other than trained with")
    plot.add_argument("--seed", type=int, default=0, help="of the sequence drawn (default 0)")
    plot.add_argument("--out", metavar="DIR", help="where the pictures go (default: RUN/plots, or NAME-plots here)")
    plot.set_defaults(run=_plot)

    export = commands.add_parser("export", help="write a run's model into a folder for from_pretrained", **exact)
    export.add_argument("folder", metavar="RUN", help="folder of a run")
    export.add_argument("out", metavar="DIR", help="where the model goes; must not exist")
    export.add_argument("--checkpoint", metavar="FILE", help="of RUN/checkpoints (default: the best one)")
    export.set_defaults(run=_export)

    info = commands.add_parser("info", help="versions, devices, and which backends can run here", **exact)
    info.set_defaults(run=_info)
    return parser


def _train(arguments: argparse.Namespace, rest: list[str]) -> int:
    # The task is the first word. argparse would take the value of an option that it does not know for it.
    task = rest.pop(0).replace("-", "_") if rest and not rest[0].startswith("-") else None
    if arguments.help and task is None:
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
    )
    return 0


def _evaluate(arguments: argparse.Namespace, rest: list[str]) -> int:
    from tapehead.training.report import evaluate_run

    for run in arguments.runs:
        evaluate_run(
            run,
            lengths=arguments.lengths,
            repeats=arguments.repeats,
            memory_size=arguments.memory_size,
            sequences=arguments.sequences,
            seed=arguments.seed,
        )
    return 0


def _plot(arguments: argparse.Namespace, rest: list[str]) -> int:
    from tapehead.pictures import plot_runs

    paths = plot_runs(
        arguments.runs,
        length=arguments.length,
        repeats=arguments.repeats,
        memory_size=arguments.memory_size,
        seed=arguments.seed,
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


def _info(arguments: argparse.Namespace, rest: list[str]) -> int:
    from tapehead.info import describe

    print(describe())
    return 0
