"""One-shot learning on the command line: train, evaluate, plot, export, study, on drawings that say who they are."""

import csv
import json
import math
from types import SimpleNamespace

import pytest
import torch

import tapehead
from tapehead.cli import main
from tapehead.errors import DataError
from tapehead.tasks import Omniglot
from tapehead.tasks.omniglot import task as omniglot_task
from tapehead.training.evaluate import evaluate, score_size
from tapehead.training.instances import Instances
from tapehead.training.lightning.same_buffers import SameBuffers
from tapehead.training.runs import Run
from tests.training import tiny

pytestmark = pytest.mark.usefixtures("signed")


@pytest.fixture
def run(tmp_path):
    assert tiny.train(tmp_path / "run", "--task.data=somewhere", task="omniglot", model="mann") == 0
    return tmp_path / "run"


def test_every_command_takes_a_run(run, tmp_path, capsys, monkeypatch):
    summary = json.loads((run / "summary.json").read_text())
    assert summary["measure"] == "wrong_answers"
    assert 0 < summary["wrong_answers"] <= 4
    with next((run / "logs" / "csv").glob("version_*/metrics.csv")).open() as file:
        rows = list(csv.DictReader(file))
    assert any(row["train_wrong_answers"] for row in rows)
    accuracies = [float(row["validation_accuracy_2"]) for row in rows if row["validation_accuracy_2"]]
    assert accuracies
    assert all(0 <= accuracy <= 1 for accuracy in accuracies)

    capsys.readouterr()
    assert main(["evaluate", str(run), "--sequences", "8"]) == 0
    text = capsys.readouterr().out
    assert "right at the k-th presentation of a class" in text
    scores = json.loads((run / "evaluation.json").read_text())["lengths"]
    assert list(scores) == ["4x2"]
    assert list(scores["4x2"]["instances"]) == ["1", "2"]

    assert main(["plot", str(run)]) == 0
    pictures = {path.name for path in (run / "plots").iterdir()}
    assert pictures == {"learning_curves.png", "instances.png", "answer_4x2.png", "internals_4x2.png"}

    assert main(["export", str(run), str(tmp_path / "model")]) == 0
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert "somewhere" not in json.dumps(config)
    model = tapehead.from_pretrained(tmp_path / "model")
    assert type(model.core) is tapehead.MANN
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "model", "--sequences", "2"]) == 0


@pytest.mark.parametrize("model", ["ntm", "lstm"])
def test_others_are_trained_on_the_same_episodes(tmp_path, model):
    assert tiny.train(tmp_path / "run", task="omniglot", model=model) == 0
    assert Run.open(tmp_path / "run").config().task.way == 2


def test_a_convolution_before_the_mann(tmp_path, unrendered):
    words = ["--embedding.kind=convolution", "--embedding.channels=2", "--embedding.features=3"]
    assert tiny.train(tmp_path / "run", *words, task="omniglot", model="mann") == 0
    model = Run.open(tmp_path / "run").load_model()
    assert (model.embedding.features, model.core.input_size) == (3, 5)
    assert main(["evaluate", str(tmp_path / "run"), "--sequences", "2"]) == 0
    assert main(["plot", str(tmp_path / "run")]) == 0
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "model")]) == 0
    assert main(["evaluate", str(tmp_path / "model"), "--sequences", "2", "--memory-size", "9"]) == 0
    again = tapehead.from_pretrained(tmp_path / "model")
    assert tiny.same(again.state_dict(), model.state_dict())


def test_what_new_heads_begin_with_is_an_option(tmp_path):
    shift = ["--model.write_shift_bias=[0,7,9]", "--model.write_interpolation_bias=-9"]
    for model, words in (("mann", ["--model.write_gate_bias=1.5"]), ("ntm", shift)):
        out = tmp_path / model
        assert tiny.train(out, "--model.key_strength_bias=2.5", *words, task="omniglot", model=model) == 0
        arguments = Run.open(out).load_model().core.arguments()
        assert arguments["key_strength_bias"] == 2.5
        assert arguments.get("write_gate_bias", 1.5) == 1.5
        assert arguments.get("write_shift_bias", (0, 7, 9)) == (0, 7, 9)
        assert arguments.get("write_interpolation_bias", -9) == -9


def test_a_task_without_pictures_has_no_embedding(tmp_path, capsys):
    assert tiny.train(tmp_path / "run", "--embedding.kind=convolution") == 2
    assert "expected kind 'none' for Copy, which shows no pictures" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_mann_is_the_tasks_own_model(tmp_path):
    options = {**tiny.TASKS["omniglot"], **tiny.MODEL, **tiny.MEMORY, **tiny.TRAINING}
    words = [f"--{name}={value}" for name, value in options.items()]
    assert main(["train", "omniglot", "--out", str(tmp_path / "run"), *words]) == 0
    assert Run.open(tmp_path / "run").config().model_name == "mann"


def test_a_study_counts_wrong_answers(tmp_path):
    from tapehead.studies.summary import measure_of

    assert measure_of("omniglot") == ("wrong_answers", "wrong answers")


def test_accuracy_by_instance_against_a_slow_count():
    task = Omniglot(way=3, length=10, class_counts="equal")
    found = Instances(task)
    per_episode: dict[int, list[float]] = {}
    for seed in range(3):
        batch = task.sample(4, torch.Generator().manual_seed(seed))
        logits = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(seed)) + batch.target
        found.add(logits, batch)
        for row in range(4):
            seen = [0, 0, 0]
            mine: dict[int, list[bool]] = {}
            for step in range(10):
                label = int(batch.target[step, row].argmax())
                seen[label] += 1
                mine.setdefault(seen[label], []).append(int(logits[step, row].argmax()) == label)
            for instance, answers in mine.items():
                per_episode.setdefault(instance, []).append(sum(answers) / len(answers))
    rows = found.rows()
    assert list(rows) == ["1", "2", "3", "4"]
    for name, row in rows.items():
        values = per_episode[int(name)]
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
        assert row["accuracy"] == pytest.approx(mean)
        assert row["standard_error"] == pytest.approx(deviation / math.sqrt(len(values)))


def test_a_model_that_knows_is_right_from_the_second_on(signed):
    """Nearest neighbour by hand: the drawings say which class they are."""
    task = Omniglot(way=3, length=12, rotated_classes=False, max_rotation=0, max_translation=0)

    class Knows(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.core = torch.nn.Module()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, input, state=None, lengths=None):
            steps, rows = input.shape[:2]
            logits = torch.zeros(steps, rows, 3)
            classes = input[:, :, 1 * 20 + 3]
            for row in range(rows):
                told = {}
                for step in range(steps):
                    if step:
                        told[float(classes[step - 1, row])] = input[step, row, 400:]
                    logits[step, row] = told.get(float(classes[step, row]), torch.zeros(3))
            return logits, None

    scores = evaluate(Knows(), task, task.sizes(), sequences=20)["lengths"]["12x3"]
    accuracies = [row["accuracy"] for row in scores["instances"].values()]
    assert accuracies[1:] == [1.0, 1.0, 1.0]
    assert accuracies[0] < 0.7
    assert scores["wrong_answers"] == pytest.approx(3 * (1 - accuracies[0]))


def test_missing_data_is_said_in_a_sentence(tmp_path, capsys, monkeypatch):
    from tapehead.tasks.omniglot import images, task

    monkeypatch.setattr(task, "load", images.load)
    status = tiny.train(tmp_path / "run", f"--task.data={tmp_path / 'nowhere'}", task="omniglot", model="mann")
    assert status == 1
    assert str(tmp_path / "nowhere") in capsys.readouterr().err


def test_a_model_that_is_scored_learns_nothing_from_it():
    task = Omniglot(way=2, length=4, validation_classes=2, data="somewhere")
    embedding = tapehead.ImageEmbedding(task.input_size, 20, channels=2, features=3)
    model = tapehead.SequenceModel(tapehead.LSTM(embedding.output_size, 4), task.target_size, embedding)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    score = score_size(model, task, task.sizes()[0], 4, 1, 0)
    assert model.training
    assert tiny.same(model.state_dict(), before)
    model.embedding.eval()  # a part that is frozen stays so
    assert score == score_size(model, task, task.sizes()[0], 4, 1, 0)
    assert model.core.training
    assert not model.embedding.training


def test_processes_agree_on_the_means_of_an_embedding():
    """Two processes are not started for it: what they hold, the strategy of the trainer says."""
    strategy = SimpleNamespace(reduce=lambda tensor, reduce_op: {"mean": (tensor + 7) / 2}[reduce_op])
    trainer = SimpleNamespace(world_size=2, strategy=strategy)
    model = tapehead.ImageEmbedding(70, 8, channels=2, features=3)
    SameBuffers().on_validation_epoch_start(trainer, model)
    assert model.normalisation.running_mean.tolist() == [3.5] * 3
    assert model.normalisation.running_var.tolist() == [4] * 3


def test_a_run_of_another_embedding_is_not_gone_on_with(tmp_path, capsys):
    out = tmp_path / "other"
    assert tiny.train(out, "--task.data=x", "--embedding.kind=convolution", task="omniglot", model="lstm") == 0
    path = Run.open(out).last_checkpoint()
    contents = torch.load(path, weights_only=True)
    del contents["state_dict"]["model.embedding.normalisation.running_mean"]
    torch.save(contents, path)
    assert main(["train", "--resume", str(out), "--training.sequences=64"]) == 1
    error = capsys.readouterr().err
    assert "of another model than this tapehead makes" in error
    assert "running_mean" in error


def test_processes_do_not_normalise_together(tmp_path, capsys):
    words = ["--task.data=x", "--embedding.kind=convolution", "--trainer.sync_batchnorm=true"]
    assert tiny.train(tmp_path / "run", *words, task="omniglot", model="lstm") == 2
    assert "--trainer.sync_batchnorm: expected false with an embedding" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_without_drawings_nothing_is_left_in_the_way_of_another_try(tmp_path, monkeypatch, capsys):
    def missing(data, cache):
        raise DataError(f"{data}: no such folder.")

    with monkeypatch.context() as patch:
        patch.setattr(omniglot_task, "load", missing)
        assert tiny.train(tmp_path / "run", "--task.data=nowhere", task="omniglot", model="lstm") == 1
        assert "nowhere: no such folder" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert tiny.train(tmp_path / "run", "--task.data=x", task="omniglot", model="lstm") == 0
    assert "Done after" in capsys.readouterr().out
