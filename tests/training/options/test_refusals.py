"""What is said of wrong values and wrong names."""

from __future__ import annotations

import pytest

from tapehead.cli import main


def error_of(words, capsys):
    try:
        status = main(words)
    except SystemExit as stop:
        status = stop.code
    assert status in (1, 2)
    return capsys.readouterr().err


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("model.backend", "gpu", "expected auto, reference or fused, got gpu."),
        ("model.memory_size", "many", "expected a whole number, got many."),
        ("task.bits", "2.5", "expected a whole number, got 2.5."),
        ("training.sequences", "null", "expected a whole number, got null."),
        ("training.stop_when_solved", "maybe", "expected true or false, got maybe."),
        ("seed", "-1", "expected a whole number from 0 to 2^63 - 1, got -1."),
        ("seed", "abc", "expected a whole number from 0 to 2^63 - 1, got abc."),
        ("training.memory_sizes", "[a]", "expected a list of whole numbers, such as [1, 2], got a."),
        ("optimiser.betas", "[1]", "expected a list of 2 numbers, such as [0.5, 0.9], got [1]."),
        ("model.read_interpolation_bias", "x", "expected a number, or a list of numbers, such as [0.5, 0.9], got x."),
        (
            "model.read_shift_bias",
            "x",
            "expected a list of numbers, such as [0.5, 0.9], a list of such lists, or null, got x.",
        ),
        ("model.gradient_limit", "x", "expected a number or null, got x."),
        ("model.initial.memory", "ones", "expected constant, random or learned, got ones."),
        ("curriculum.solved_task", "3", 'expected names with values, such as {"name": "value"}, got 3.'),
        ("optimiser.learning_rate", "-1", "expected learning_rate > 0, got -1.0."),
        ("trainer.max_steps", "x", "expected a whole number, got x."),
        ("trainer.callbacks", "Stoping", "expected a list of Callbacks, a Callback or null, got Stoping."),
    ],
)
def test_a_wrong_value_is_refused_in_a_sentence(option, value, said, tmp_path, capsys):
    assert error_of(["train", "copy", f"--{option}={value}"], capsys) == f"tapehead: --{option}: {said}\n"
    group, _, name = option.rpartition(".")
    if option == "optimiser.learning_rate":  # it is refused once all are put together
        return
    text = f"{name}: {value}\n"
    for part in reversed(group.split(".") if group else []):
        text = f"{part}:\n" + "".join(f"  {line}\n" for line in text.splitlines())
    (tmp_path / "mine.yaml").write_text(text)
    for given in ("--config", "--recipe"):
        said_of_file = error_of(["train", "copy", given, "mine.yaml"], capsys)
        assert said_of_file == f"tapehead: {option} in mine.yaml: {said}\n"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("task.max_length", "--task: expected at most 1,000,000 sizes"),
        ("task.bits", "--task.bits: expected a whole number below 2,147,483,648"),
        ("model.memory_size", "--model.memory_size: expected a whole number below 2,147,483,648"),
        ("model.num_layers", "--model.num_layers: expected a whole number below 2,147,483,648"),
        ("embedding.features", "--embedding.features: expected a whole number below 2,147,483,648"),
        ("training.batch_size", "--training.batch_size: expected a whole number below 2,147,483,648"),
        ("training.memory_sizes", "--training.memory_sizes: expected whole numbers below 2,147,483,648"),
        ("training.select_at", "--training.select_at: expected whole numbers below 2,147,483,648"),
        (
            "training.validate_every",
            "--training.validate_every: expected a whole number below 9,223,372,036,854,775,808",
        ),
        ("training.sequences", "--training.sequences: expected a whole number below 9,223,372,036,854,775,808"),
    ],
)
def test_more_than_can_be_counted_is_refused(option, said, capsys):
    value = str(10**24)
    given = f"[1, {value}]" if option in ("training.memory_sizes", "training.select_at") else value
    error = error_of(["train", "copy", f"--{option}={given}"], capsys)
    assert error.startswith(f"tapehead: {said}")
    assert f"got {value}" in error
    assert error.count("\n") == 1


def test_a_tensor_whose_bytes_cannot_be_counted_does_not_fit(capsys):
    largest = str(2**31 - 1)
    error = error_of(["train", "copy", f"--model.memory_size={largest}", f"--model.word_size={largest}"], capsys)
    assert error.startswith("tapehead: Out of memory: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--trainer.max_time soon", "--trainer.max_time: `Timer(duration='soon')` is not a valid duration."),
        ("--trainer.precision 17", "--trainer.precision: "),
        ("--trainer.max_epochs=-5", "--trainer.max_epochs: `max_epochs` must be a non-negative integer or -1."),
        ("--trainer.strategy turns", "--trainer.strategy: You selected an invalid strategy name"),
        ("--trainer.barebones true --trainer.enable_progress_bar true", "--trainer: `Trainer(barebones=True"),
    ],
)
def test_what_the_trainer_refuses_names_the_option(words, said, capsys):
    assert error_of(["train", "copy", *words.split()], capsys).startswith(f"tapehead: {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: 3", "model in mine.yaml: expected names with values, or a file with them, got 3."),
        ("model: {initial: [1]}", "model.initial in mine.yaml: expected names with values"),
        ("[1]", "mine.yaml: expected options, as `seed: 3`, got [1]."),
        ("model: [", "mine.yaml: cannot be read as YAML"),
        ("task_name: ngrams", "task_name in mine.yaml: expected copy, got ngrams."),
        (
            "modell: {memory_size: 3}",
            "modell.memory_size in mine.yaml: no such option. Did you mean model.memory_size?",
        ),
        ("model: {memory_sise: 3}", "model.memory_sise in mine.yaml: no such option. Did you mean model.memory_size?"),
        ("task: {colour: 3}", "task.colour in mine.yaml: no such option. Of task there are: bits, min_length, "),
    ],
)
def test_a_wrong_file_is_named(text, said, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(text)
    assert said in error_of(["train", "copy", "--config", "mine.yaml"], capsys)
    assert said in error_of(["train", "copy", "--config=mine.yaml"], capsys)


def test_the_command_line_is_named_where_a_file_has_the_option_too(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("model: {memory_size: 8}")
    said = error_of(["train", "copy", "--config", "mine.yaml", "--model.memory_size", "x"], capsys)
    assert said.startswith("tapehead: --model.memory_size: ")


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("trian copy", "train"),
        ("train coppy", "copy"),
        ("study coppy", "copy"),
        ("train copy --model nmt", "ntm"),
        ("train copy --recipe copy/ntm-feedfoward", "copy/ntm-feedforward"),
        ("study copy --models copy/nmt", "ntm"),
        ("study copy --lenghts 3", "--lengths"),
        ("study copy --backend rya", "ray"),
        ("evaluate copy-nmt", "copy-ntm"),
        ("plot copy-nmt", "copy-ntm"),
        ("evaluate copy-ntm --lenghts 3", "--lengths"),
        ("train copy --modle lstm", "--model"),
        ("train --resum RUN", "--resume"),
        ("train copy --model.memory_sise 3", "--model.memory_size"),
        ("train copy --memory_size 3", "--model.memory_size"),
        ("train copy --batch_size=3", "--training.batch_size"),
        ("train copy --trainer.max_epoch5 3", "--trainer.max_epochs"),
        ('train copy --curriculum.solved_task={"densty":"even"}', "density"),
    ],
)
def test_a_near_name_is_asked_for(words, near, capsys):
    assert f"Did you mean {near}?" in error_of(words.split(), capsys)


@pytest.mark.parametrize("words", ["sing", "train sing", "train copy --trainer.colour 3", "evaluate run", "info more"])
def test_a_name_that_nothing_is_near_is_refused_without_a_question(words, capsys):
    assert "Did you mean" not in error_of(words.split(), capsys)


def test_numbers_of_the_commands_own_options(capsys):
    said = error_of(["evaluate", "--lengths", "10", "run"], capsys)
    assert "--lengths: expected a whole number, got run. What follows --lengths is read as numbers" in said
    assert "--seed: expected a whole number, got x.\n" in error_of(["evaluate", "run", "--seed", "x"], capsys)


@pytest.mark.parametrize("command", ["train", "study"])
def test_who_names_an_unknown_task_is_told_how_to_call_one_of_their_own(command, capsys):
    assert "got brackets. If it is a task of your own, call its file: `python FILE.py" in error_of(
        [command, "brackets"], capsys
    )
    assert "of your own" not in error_of([command, "cpoy"], capsys)
    assert "of your own" not in error_of([command], capsys)


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--seeds", "tapehead study"),
        ("--lr", "--optimiser.learning_rate"),
        ("--optimiser.lr", "--optimiser.learning_rate"),
        ("--epochs", "--training.sequences"),
        ("--device", "--trainer.accelerator"),
        (
            "--optimiser.kind",
            "Of --optimiser there are: name, learning_rate, decay, ",
        ),
        ("--model.learning_rate", "Did you mean --optimiser.learning_rate?"),
    ],
)
def test_an_option_that_others_have_is_answered_with_what_is_meant(capsys, option, meant):
    assert main(["train", "copy", option, "3"]) == 2
    said = capsys.readouterr().err
    assert f"{option}: no such option." in said
    assert meant in said


def test_a_configuration_that_is_empty_or_a_folder(tmp_path, capsys):
    (tmp_path / "empty.yaml").touch()
    assert main(["train", "copy", "--config", str(tmp_path / "empty.yaml")]) == 2
    assert f"{tmp_path}/empty.yaml: expected options, as `seed: 3`, got an empty file." in capsys.readouterr().err
    assert main(["train", "copy", "--config", str(tmp_path)]) == 2
    assert f"--config: expected a YAML file, got {tmp_path}, which is a folder." in capsys.readouterr().err
