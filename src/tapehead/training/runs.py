"""The folder of a run: what is in it, written so that nothing is ever half there, and read back with clear errors.

::

    RUN/
      config.yaml        the effective configuration; `tapehead train ... --config` takes it as it is
      environment.json   versions, commit, command
      checkpoints/       best.ckpt, and the latest ones, by the sequences trained on
      logs/              csv/ and tensorboard/, a version each time the run is begun or resumed
      progress.json      how far it has come, while it trains
      summary.json       what came out, once training has stopped
      evaluation.json    what `tapehead evaluate` found
      plots/             what `tapehead plot` drew
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch
import yaml

import tapehead
from tapehead.errors import RunError, UsageError
from tapehead.files import lock_folder, replacing
from tapehead.nn import SequenceModel
from tapehead.program import typed
from tapehead.training.options.arguments import config_from_dict, config_to_dict
from tapehead.training.options.config import RunConfig
from tapehead.training.options.reading import load_yaml

__all__ = ["Run", "environment", "plain_config", "write_json"]

MODEL_PREFIX, AVERAGE_PREFIX = "model.", "average."
"""What a model's parameters, and their mean, begin with in a checkpoint: attributes of the LightningModule."""

PARTS = {"state_dict": dict, "progress": dict, "stream_position": int, "random_state": torch.Tensor}
"""What a checkpoint that a run can go on from has besides Lightning's own parts."""


def write_json(path: Path, data: Any) -> None:
    """Write JSON, whole or not at all."""
    with replacing(path) as file:
        file.write((json.dumps(data, indent=2) + "\n").encode())


def environment() -> dict[str, Any]:
    """Versions and machine: what a result depends on besides its configuration."""
    packages = {"tapehead": tapehead.__version__, "torch": torch.__version__}
    with contextlib.suppress(ImportError):
        import lightning

        packages["lightning"] = lightning.__version__
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": packages,
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def _commit() -> str | None:
    """The commit of the source tree that runs, with "+" where it was changed; None for an installed package."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if not git("ls-files", Path(__file__).name):
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


class Run:
    """A run's folder."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.logs = self.path / "logs"
        self.plots = self.path / "plots"
        self._held: int | None = None

    def check_new(self) -> None:
        """Raise RunError if the folder exists."""
        if os.path.exists(self.path):  # Path.exists raises for a name that is too long, which making it tells of
            go_on = f", or go on with the run in it: --resume {typed(self.path)}" if self.config_path.is_file() else "."
            raise RunError(
                f"{self.path}: exists, and a run is never overwritten. Name another folder with --out{go_on}"
            )

    def create(self, config: RunConfig, facts: dict[str, Any] | None = None) -> None:
        """Make the folder, with the configuration, and an environment.json that says the facts besides.

        Raises:
            RunError: it exists, or cannot be made.
        """
        self.check_new()
        try:
            self.path.mkdir(parents=True)
        except OSError as error:
            reason = f"{self.path}: cannot make the run's folder: {error.strerror}"
            raise RunError(f"{reason}. Name another with --out.") from error
        self.save_config(config)
        write_json(self.path / "environment.json", (facts or {}) | environment())

    def reopen(self, config: RunConfig) -> None:
        """Go on in the folder: the configuration may have changed, and what came out is not known yet."""
        self.save_config(config)
        (self.path / "summary.json").unlink(missing_ok=True)

    def hold(self) -> None:
        """Keep other processes from training in the folder until `release`, or until this one has ended.

        Raises:
            RunError: another one does.
        """
        try:
            self._held = lock_folder(self.path)
        except BlockingIOError:
            raise RunError(
                f"{self.path}: another `tapehead train` is at work in it. Wait for it, or stop it, and repeat the "
                "command."
            ) from None

    def release(self) -> None:
        """Let others train in the folder."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """A run that exists.

        Raises:
            RunError: there is no such folder, or it is no run's.
        """
        run = cls(path)
        if not run.path.is_dir():
            raise RunError(f"{path}: no such run. Runs are folders; `tapehead train` prints the name of its own.")
        if not run.config_path.is_file():
            if (run.path / "study.yaml").is_file():
                raise RunError(f"{path}: a study, not a run. Its runs are {_runs_of_study(run.path)}.")
            raise RunError(f"{path}: not a run's folder, it has no config.yaml.")
        return run

    @property
    def config_path(self) -> Path:
        """Where config.yaml is."""
        return self.path / "config.yaml"

    def save_config(self, config: RunConfig) -> None:
        """Write config.yaml."""
        with replacing(self.config_path) as file:
            file.write(yaml.safe_dump(plain_config(config), sort_keys=False).encode())

    def config_data(self) -> dict[str, Any]:
        """config.yaml as plain data.

        Raises:
            RunError: it cannot be read.
        """
        try:
            data = load_yaml(self.config_path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RunError(f"{self.config_path}: damaged, it cannot be read: {error}") from error
        if not isinstance(data, dict) or not {"task_name", "model_name"} <= data.keys():
            raise RunError(f"{self.config_path}: damaged, it names no task and model.")
        return data

    def config(self) -> RunConfig:
        """The configuration.

        Raises:
            RunError: config.yaml is damaged or of another version.
        """
        try:
            return config_from_dict(self.config_data())
        except UsageError as error:
            raise RunError(f"{self.config_path}: {error}") from error

    def checkpoint_path(self, sequences: int) -> Path:
        """Where the checkpoint after so many sequences goes."""
        return self.checkpoints / f"sequences-{sequences:010d}.ckpt"

    def latest_checkpoints(self) -> list[Path]:
        """Those that are named by their sequences, the latest one last."""
        return sorted(
            path
            for path in self.checkpoints.glob("sequences-*.ckpt")
            if path.stem.removeprefix("sequences-").isdecimal()
        )

    def latest_checkpoint(self) -> Path | None:
        """The one after the most sequences, where there is one."""
        return max(self.latest_checkpoints(), default=None)

    def last_checkpoint(self) -> Path:
        """The latest checkpoint.

        Raises:
            RunError: there is none.
        """
        path = self.latest_checkpoint()
        if path is None:
            raise RunError(f"{self.path}: no checkpoint to go on from; start the run again under another name.")
        return path

    def checkpoint_named(self, name: str | Path, option: str) -> Path:
        """A checkpoint that a user names.

        Args:
            name: of a file in `checkpoints`, with or without ".ckpt", or a path
            option: that it was given to, for the message

        Raises:
            RunError: there is no such file, or it is another run's.
        """
        for path in (self.checkpoints / name, self.checkpoints / f"{name}.ckpt", Path(name)):
            if path.is_file():
                owner = Run(path.resolve().parent.parent)
                if owner.config_path.is_file() and owner.path != self.path.resolve():
                    raise RunError(f"{option}: {name} is of another run. Name that one instead: {typed(owner.path)}")
                return path
        found = ", ".join(sorted(path.name for path in self.checkpoints.glob("*.ckpt"))) or "none"
        raise RunError(f"{option}: expected a file of {self.checkpoints}, got {name or 'nothing'}. There are: {found}.")

    def go_back(self, checkpoint: Path, sequences: int) -> Path:
        """Make a checkpoint, which is of so many sequences, the latest one; those that are later are removed."""
        latest = self.checkpoint_path(sequences)
        if checkpoint != latest:
            with replacing(latest) as file:
                file.write(checkpoint.read_bytes())
        for path in self.latest_checkpoints():
            if path.name > latest.name:
                path.unlink(missing_ok=True)  # another node of a distributed run may have done so
        return latest

    def best_checkpoint(self) -> Path:
        """The best checkpoint by validation, or the latest where there is none yet.

        Raises:
            RunError: there is no checkpoint at all.
        """
        best = self.checkpoints / "best.ckpt"
        if best.is_file():
            return best
        if self.latest_checkpoint() is None:
            raise RunError(
                f"{self.path}: no checkpoint in it; it was stopped before the first one, or told to save none."
            )
        return self.last_checkpoint()

    def load_checkpoint(self, path: Path, *, to_go_on: bool = False) -> dict[str, Any]:
        """A checkpoint's contents; nothing in the file is executed.

        Args:
            path: of the file
            to_go_on: whether a run is to go on from it, which takes more than the weights

        Raises:
            RunError: it cannot be read, or a part is missing.
        """
        try:
            contents = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises whatever its unpickler and zip reader raise
            others = [other.name for other in sorted(self.checkpoints.glob("*.ckpt")) if other != path]
            hint = f" Others in the folder: {', '.join(others)}." if others else ""
            if others and to_go_on:
                hint += f" Go back to one of them with --from, such as --from {Path(others[-1]).stem}."
            raise RunError(f"{path}: damaged, it cannot be read ({type(error).__name__}).{hint}") from error
        found = contents if isinstance(contents, dict) else {}
        wanted = PARTS if to_go_on else {"state_dict": dict}
        missing = [name for name, kind in wanted.items() if not isinstance(found.get(name), kind)]
        if missing:
            raise RunError(f"{path}: not a checkpoint of tapehead, or a damaged one: it has no {', '.join(missing)}.")
        return contents

    def load_model(self, path: Path | None = None, *, config: RunConfig | None = None) -> SequenceModel:
        """The model as trained, in evaluation mode.

        Args:
            path: of the checkpoint; None takes the best one
            config: what `config` returns, of who has it already: config.yaml takes longer to read than a small model

        Raises:
            RunError: something is missing, damaged, or of another model.
        """
        config = config or self.config()
        path = path or self.best_checkpoint()
        tensors = self.load_checkpoint(path)["state_dict"]
        prefix = AVERAGE_PREFIX if any(name.startswith(AVERAGE_PREFIX) for name in tensors) else MODEL_PREFIX
        weights = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        model = config.build_model()
        dtypes = {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()}
        if len(dtypes) == 1:
            model = model.to(dtypes.pop())
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise RunError(f"{path}: of another model than {self.config_path} describes: {error}") from error
        return model.eval()

    def summary(self) -> dict[str, Any]:
        """summary.json.

        Raises:
            RunError: training has not stopped yet, or the file is damaged.
        """
        return self._read_json("summary.json", "training has not come to its end; go on with --resume")

    def _read_json(self, name: str, missing: str) -> dict[str, Any]:
        path = self.path / name
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{path}: missing, {missing}.") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: damaged, it cannot be read: {error}") from error
        return data


def _runs_of_study(folder: Path) -> str:
    names = sorted(str(path.parent) for path in folder.glob("*/config.yaml"))
    return ", ".join([*names[:4], *(["..."] if len(names) > 4 else [])]) or "not there yet"


def plain_config(config: RunConfig) -> dict[str, Any]:
    """A configuration as config.yaml holds it: only dictionaries, lists, strings and numbers."""
    data: dict[str, Any] = _plain(config_to_dict(config))
    return data


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down: YAML has no tuples."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
