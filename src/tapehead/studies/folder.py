"""The folder of a study: what is in it, who may work in it, and how far each run has come.

::

    STUDY/
      study.yaml              the study: task, models, seeds, options, and every option of the runs of each model
      configurations/         <recipe>.yaml, from study.yaml: what its runs are started with
      <recipe>-seed<K>/       a run, as `tapehead train` makes it
      logs/<run>.log          what its commands printed
      logs/<run>.json         whether it is at work, done or died, on which machine, and its scores
      logs/<recipe>-together.json, .log      of runs that train in one process: which they are, and what it printed
      stop                    while runs on a cluster are asked to stop
      table.md, results.json, curves.png
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tapehead.errors import RunError
from tapehead.files import lock_folder, replacing
from tapehead.studies.plan import Plan
from tapehead.training.options.reading import load_yaml

__all__ = ["StudyFolder", "read_json"]


def read_json(path: Path) -> dict[str, Any] | None:
    """A small JSON file; None where there is none, or it cannot be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


class StudyFolder:
    """A study's folder."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.logs = self.path / "logs"
        self.plan_path = self.path / "study.yaml"
        self.stop_path = self.path / "stop"

    def configuration(self, recipe: str) -> Path:
        """The file that the runs of a recipe are started with."""
        return self.path / "configurations" / f"{recipe}.yaml"

    def check(self, plan: Plan) -> None:
        """Raise unless the folder is new, or holds this study or a part of it. Touches nothing.

        Raises:
            RunError: it holds something else; the message says what differs.
        """
        if not os.path.exists(self.path):
            return
        if not self.path.is_dir() or (not self.plan_path.is_file() and any(self.path.iterdir())):
            raise RunError(f"{self.path}: exists, and is no study's folder. Name another with --out.")
        if not self.plan_path.is_file():
            return
        try:
            there = load_yaml(self.plan_path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RunError(f"{self.plan_path}: damaged, it cannot be read: {error}") from error
        if not isinstance(there, dict) or not {"task", "configurations", "seeds"} <= there.keys():
            raise RunError(f"{self.plan_path}: damaged, it names no task, models and seeds.")
        differences = plan.differences(there)
        if differences:
            more = f", and {len(differences) - 8} more" if len(differences) > 8 else ""
            raise RunError(
                f"{self.path}: holds a study of another configuration: {'; '.join(differences[:8])}{more}. "
                "Nothing in it was touched. Ask for what it holds, or name another folder with --out."
            )

    @contextlib.contextmanager
    def working(self, plan: Plan) -> Iterator[int | None]:
        """Make the folder, or go on in it, alone; yields what the children have to inherit to keep others out.

        Raises:
            RunError: it holds another study, another process is at work in it, or it cannot be written.
        """
        self.check(plan)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot make the study's folder: {error.strerror}. Name another with --out."
            ) from error
        try:
            handle = lock_folder(self.path)
        except BlockingIOError:
            raise RunError(
                f"{self.path}: another `tapehead study` is at work in it, or a run of one that was killed. "
                "Wait for it, or stop it, and repeat the command."
            ) from None
        try:
            self.check(plan)  # another process may have begun here since
            self._save(plan)
            yield handle
        finally:
            if handle is not None:
                os.close(handle)

    def _save(self, plan: Plan) -> None:
        try:
            self.stop_path.unlink(missing_ok=True)
            for path in (self.logs, self.configuration("any").parent):
                path.mkdir(exist_ok=True)
            with replacing(self.plan_path) as file:
                file.write(yaml.safe_dump(plan.to_dict(), sort_keys=False).encode())
            for recipe in plan.recipes:
                with replacing(self.configuration(recipe.name)) as file:
                    file.write(yaml.safe_dump(recipe.config, sort_keys=False).encode())
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {error.strerror}. Name another with --out.") from error
