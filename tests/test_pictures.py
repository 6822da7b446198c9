import json
import re
import shutil

import pytest
import torch
from matplotlib.image import imread
from PIL import Image

from tapehead import pictures
from tapehead.errors import RunError, UsageError
from tapehead.pictures import plot_runs
from tapehead.plots import draw_predictions
from tapehead.tasks import NGrams
from tapehead.training.options.arguments import config_from_dict
from tapehead.training.runs import Run

METRICS = """sequences,train_bits,train_bit_errors,validation_bits,validation_bit_errors
100,8,4,,
100,,,7,3
200,1,0.5,,
200,,,0.5,0
"""


TASKS = {
    "ngrams": {"n": 3, "length": 12},
    "priority_sort": {"bits": 3, "length": 4, "highest": 3},
    "omniglot": {"way": 2, "length": 6},
}
"""Options of the tasks that have no longest length."""


def make_run(path, model="ntm", task="copy", seed=0, summary=True, training=None, trainer=None, **sizes):
    """The folder of a run that never trained."""
    torch.manual_seed(seed)
    small = {"hidden_size": 6} if model == "lstm" else {"hidden_size": 6, "memory_size": 12, "word_size": 4, **sizes}
    config = config_from_dict(
        {
            "task_name": task,
            "model_name": model,
            "seed": seed,
            "task": TASKS.get(task, {"bits": 3, "max_length": 4}),
            "model": small,
            "training": training or {},
            "trainer": trainer or {},
        }
    )
    run = Run(path)
    run.create(config)
    weights = {f"model.{name}": tensor for name, tensor in config.build_model().state_dict().items()}
    run.checkpoints.mkdir()
    others = {"progress": {}, "stream_position": 0, "random_state": torch.get_rng_state()}
    torch.save({"state_dict": weights, **others}, run.checkpoints / "best.ckpt")
    log = run.logs / "csv" / "version_0" / "metrics.csv"
    log.parent.mkdir(parents=True)
    log.write_text(METRICS)
    if summary:
        (run.path / "summary.json").write_text(json.dumps({"solved_at_sequences": 200}))
    return run.path


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def assert_pictures(paths):
    for path in paths:
        assert imread(path)[..., :3].std() > 0.02


def test_one_run(run):
    paths = plot_runs([run])
    assert paths == [run / "plots" / name for name in ("learning_curves.png", "answer_4.png", "internals_4.png")]
    assert_pictures(paths)
    assert sorted(path.name for path in (run / "plots").iterdir()) == sorted(path.name for path in paths)


def test_a_prediction_is_drawn_beside_the_optimum(tmp_path, monkeypatch):
    drawn = []

    def draw(bits, predicted, optimal, *, title=None):
        drawn.append((bits, predicted, optimal))
        return draw_predictions(bits, predicted, optimal, title=title)

    monkeypatch.setattr("tapehead.pictures.draw_predictions", draw)
    paths = plot_runs([make_run(tmp_path / "run", task="ngrams")])
    assert [path.name for path in paths] == ["learning_curves.png", "answer_12.png", "internals_12.png"]
    assert_pictures(paths)
    ((bits, predicted, optimal),) = drawn
    assert torch.equal(optimal, NGrams(n=3, length=12).optimal_predictions(bits.unsqueeze(1)).squeeze(1))
    assert ((predicted > 0) & (predicted < 1)).all()


def test_a_task_of_one_size_has_an_answer_to_draw(tmp_path):
    paths = plot_runs([make_run(tmp_path / "run", task="priority_sort")])
    assert [path.name for path in paths][1:] == ["answer_4.png", "internals_4.png"]
    assert_pictures(paths)


@pytest.mark.usefixtures("unrendered")
def test_the_sequence_can_be_chosen(run, tmp_path):
    paths = plot_runs([str(run)], length=6, memory_size=20, seed=3, out=tmp_path / "new" / "out")
    assert [path.name for path in paths[1:]] == [
        "answer_6_slots_20_seed_3.png",
        "internals_6_slots_20_seed_3.png",
    ]
    assert {path.parent for path in paths} == {tmp_path / "new" / "out"}


def test_a_picture_repeats_and_follows_the_seed(tmp_path):
    run = make_run(tmp_path / "run", model="lstm")
    first, again = (plot_runs([run], out=tmp_path / name)[1].read_bytes() for name in ("a", "b"))
    other = plot_runs([run], seed=1, out=tmp_path / "c")[1].read_bytes()
    assert first == again != other


def test_a_model_without_a_memory_has_no_internals(tmp_path):
    paths = plot_runs([make_run(tmp_path / "run", model="lstm")])
    assert [path.name for path in paths] == ["learning_curves.png", "answer_4.png"]
    assert_pictures(paths)


def test_repeat_copy_and_several_heads(tmp_path):
    run = make_run(tmp_path / "run", task="repeat_copy", num_read_heads=2, num_write_heads=2)
    paths = plot_runs([run], repeats=2)
    assert [path.name for path in paths[1:]] == ["answer_4x2.png", "internals_4x2.png"]
    assert_pictures(paths)


@pytest.mark.usefixtures("unrendered")
def test_the_end_marker_of_repeat_copy_has_its_name(tmp_path, monkeypatch):
    given, draw = [], pictures.draw_answer
    monkeypatch.setattr(
        pictures, "draw_answer", lambda *data, **options: given.append(options) or draw(*data, **options)
    )
    plot_runs([make_run(tmp_path / "run", task="repeat_copy")], repeats=2)
    assert given[0]["target_names"][-2:] == ["bit 2", "end marker"]


@pytest.mark.usefixtures("unrendered")
def test_an_animation_of_the_memory(tmp_path):
    run = make_run(tmp_path / "run", num_read_heads=2)
    paths = plot_runs([run], length=2, seed=3, animate=True)
    names = ("answer_2_seed_3.png", "internals_2_seed_3.png", "memory_2_seed_3.gif")
    assert [path.name for path in paths[1:]] == list(names)
    again = plot_runs([run], length=2, seed=3, animate=True, out=tmp_path / "again")
    assert paths[-1].read_bytes() == again[-1].read_bytes()
    with Image.open(paths[-1]) as file:
        assert file.n_frames == 5


@pytest.mark.usefixtures("unrendered")
def test_an_animation_has_what_was_shown_and_answered(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(pictures, "animate_memory", lambda *data, **options: given.append((data, options)) or b"GIF")
    plot_runs([make_run(tmp_path / "run", task="ngrams", model="mann")], animate=True)
    (((trace, input, target, output, mask), options),) = given
    assert len(trace.memory) == len(input) == len(mask)
    assert options["input_names"] == ["bit"]
    assert options["target_names"] == ["next bit"]
    assert torch.equal(input[1:], target[:-1])
    assert ((output > 0) & (output < 1)).all()


@pytest.mark.usefixtures("signed", "unrendered")
def test_an_animation_shows_drawings(tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(pictures, "animate_memory", lambda *data, **options: given.update(options) or b"GIF")
    paths = plot_runs([make_run(tmp_path / "run", task="omniglot", model="mann")], animate=True)
    assert paths[-1].name == "memory_6x2.gif"
    assert given["drawings"].shape == (6, 20, 20)
    assert given["target_names"] == ["label 0", "label 1"]
    assert re.fullmatch(r"drawing 1\nof label [01]\nanswer [01]", given["captions"][0])


@pytest.mark.usefixtures("unrendered")
def test_a_model_without_a_memory_has_no_animation(tmp_path):
    paths = plot_runs([make_run(tmp_path / "run", model="lstm")], animate=True)
    assert [path.name for path in paths] == ["learning_curves.png", "answer_4.png"]


@pytest.mark.usefixtures("unrendered")
def test_repeats_are_the_most_trained_on(tmp_path):
    run = make_run(tmp_path / "run", task="repeat_copy", model="lstm")
    assert plot_runs([run])[1].name == "answer_4x10.png"


def test_several_runs(tmp_path):
    runs = [make_run(tmp_path / str(seed), model="lstm", seed=seed) for seed in (1, 2)]
    runs.append(make_run(tmp_path / "ntm", summary=False))
    paths = plot_runs(runs)
    assert_pictures(paths)
    assert paths[:2] == [runs[0] / "plots" / f"{name}_3_runs.png" for name in ("learning_curves", "validation")]
    assert [path.parent.parent.name for path in paths[2:]] == ["1", "2", "ntm", "ntm"]


@pytest.fixture
def names(monkeypatch, unrendered):
    """Of the runs in the picture of their validations."""
    found, draw = [], pictures.draw_study
    monkeypatch.setattr(
        pictures, "draw_study", lambda runs, **options: found.extend(run.name for run in runs) or draw(runs, **options)
    )
    return found


def test_controllers_are_not_taken_together(tmp_path, names):
    plot_runs([make_run(tmp_path / kind, controller=kind) for kind in ("lstm", "feedforward")])
    assert names == ["copy, ntm", "copy, ntm-feedforward"]


def test_other_settings_are_not_taken_for_seeds(tmp_path, names):
    runs = [make_run(tmp_path / f"{size}-{seed}", seed=seed, word_size=size) for size in (3, 4) for seed in (1, 2)]
    plot_runs(runs)
    assert names == [f"copy, ntm, word_size {size}" for size in (3, 3, 4, 4)]


def test_what_changes_no_training_is_no_other_setting(tmp_path, names):
    trainings = [{"keep_last": 2}, {"keep_last": 5, "sequences": 700}]
    plot_runs([make_run(tmp_path / str(index), training=training) for index, training in enumerate(trainings)])
    assert names == ["copy, ntm"] * 2


def test_what_the_trainer_changes_in_the_training_is_another_setting(tmp_path, names):
    trainers = [{"log_every_n_steps": 5, "accumulate_grad_batches": 1}, {"accumulate_grad_batches": 8}]
    plot_runs([make_run(tmp_path / str(index), trainer=trainer) for index, trainer in enumerate(trainers)])
    assert names == [f"copy, ntm, accumulate_grad_batches {batches}" for batches in (1, 8)]


@pytest.mark.usefixtures("unrendered")
def test_each_measure_has_curves_of_its_own(tmp_path):
    tasks = ("copy", "ngrams", "repeat_copy")
    runs = [make_run(tmp_path / task, task=task, model="lstm") for task in tasks]
    paths = [path.name for path in plot_runs(runs, out=tmp_path / "out")]
    assert [name for name in paths if not name.startswith("answer")] == [
        "learning_curves_2_runs_bit_errors.png",
        "validation_2_runs_bit_errors.png",
        "learning_curves_excess_bits.png",
    ]


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize(("others", "expected"), [(0.01, 0.01), (15.0, None)])
def test_only_a_threshold_that_all_have_is_drawn(tmp_path, monkeypatch, others, expected):
    given, draw = [], pictures.draw_study
    monkeypatch.setattr(pictures, "draw_study", lambda runs, **options: given.append(options) or draw(runs, **options))
    thresholds = (0.01, others)
    plot_runs(
        [make_run(tmp_path / str(index), training={"solved_below": at}) for index, at in enumerate(thresholds)],
    )
    assert given[0]["solved_below"] == expected


@pytest.mark.usefixtures("unrendered")
def test_several_runs_into_one_folder(tmp_path):
    runs = [make_run(tmp_path / parent / "run", model=model) for parent, model in (("a", "ntm"), ("b", "lstm"))]
    paths = plot_runs(runs, out=tmp_path / "out")
    assert [str(path.relative_to(tmp_path / "out")) for path in paths] == [
        "learning_curves_2_runs.png",
        "validation_2_runs.png",
        "1-run/answer_4.png",
        "1-run/internals_4.png",
        "2-run/answer_4.png",
    ]
    assert not (runs[0] / "plots").exists()


def test_a_run_whose_training_has_not_ended(tmp_path):
    assert_pictures(plot_runs([make_run(tmp_path / "run", model="lstm", summary=False)]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length >= 1"),
        ({"repeats": 2}, "repeats"),
        ({"memory_size": 0}, "--memory-size"),
        ({"memory_size": 2}, "--memory-size"),
    ],
)
def test_what_cannot_be_drawn(run, options, message):
    with pytest.raises(UsageError, match=message):
        plot_runs([run], **options)
    assert not (run / "plots").exists()


def test_no_memory_to_resize(tmp_path):
    with pytest.raises(UsageError, match="no memory to resize"):
        plot_runs([make_run(tmp_path / "run", model="lstm")], memory_size=20)


def test_the_same_run_twice(run):
    with pytest.raises(UsageError, match="named twice"):
        plot_runs([run, f"{run}/../run"])


def test_missing_and_damaged(run, tmp_path):
    with pytest.raises(RunError, match="no such run"):
        plot_runs([run, tmp_path / "none"])
    log = run / "logs" / "csv" / "version_0" / "metrics.csv"
    log.write_text("sequences,train_bits\nwhat,2\n")
    with pytest.raises(RunError, match=r"metrics\.csv: damaged"):
        plot_runs([run])
    log.write_text("sequences,gradient_norm\n100,2\n")
    with pytest.raises(RunError, match="nothing to draw"):
        plot_runs([run])
    shutil.rmtree(run / "logs")
    with pytest.raises(RunError, match="no metrics"):
        plot_runs([run])


def test_a_folder_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot be written"):
        plot_runs([run], out=tmp_path / "file" / "out")
