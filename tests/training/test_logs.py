"""What is logged of training: the means over the updates of a block."""

from __future__ import annotations

import csv
import os

import pytest
import torch

from tapehead.tasks import Stream
from tapehead.training.metrics import Score
from tapehead.training.runs import Run
from tests.studies.tiny_study import study
from tests.training.tiny import train


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_row_is_the_mean_of_its_updates(tmp_path, accumulate: int):
    # At this rate no weight moves, so that all that is logged can be worked out from the model at the end.
    options = ["--optimiser.learning_rate=1e-30", "--trainer.log_every_n_steps=4"]
    assert train(tmp_path / "run", *options, f"--trainer.accumulate_grad_batches={accumulate}") == 0
    run = Run.open(tmp_path / "run")
    with (run.logs / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train_bits"]]
    assert [float(row["sequences"]) for row in rows] == [8.0 * accumulate * (index + 1) for index in range(len(rows))]
    assert len(rows) == 6 // accumulate
    task, model = run.config().task, run.load_model(run.last_checkpoint())
    stream = Stream(task, batch_size=2, seed=0)
    for row in rows:
        scores, norms = [], []
        for _ in range(4):
            model.zero_grad()
            for _ in range(accumulate):
                batch = stream.draw()
                logits = model(batch.input)[0]
                scores.append(Score.of(logits.detach(), batch, task))
                (task.loss(logits, batch) / accumulate).backward()
            gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
            norms.append(torch.nn.utils.get_total_norm(gradients).item())
        mean = Score.mean(scores)
        assert float(row["train_bits"]) == pytest.approx(mean.bits, rel=1e-4)
        assert float(row["train_bit_errors"]) == pytest.approx(mean.bit_errors, rel=1e-4)
        assert float(row["gradient_norm"]) == pytest.approx(sum(norms) / 4, rel=1e-4)
        assert float(row["learning_rate"]) == 1e-30


def test_a_folder_that_the_locale_cannot_name_is_refused_before_it_is_made(tmp_path, capsys):
    folder = tmp_path / os.fsdecode(b"caf\xe9")  # as é is read in another locale: TensorBoard cannot write there
    assert train(folder) == 2
    assert "expected a folder whose name this locale can read" in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize("command", [train, study])
def test_a_name_that_is_too_long_gets_a_sentence(command, tmp_path, capsys):
    assert command(tmp_path / ("d" * 300)) == 1
    assert "File name too long. Name another with --out." in capsys.readouterr().err
