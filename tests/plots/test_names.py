"""What runs of different settings are called in one picture."""

from hypothesis import given
from hypothesis import strategies as st

from tapehead.plots.names import names_by_settings

USUAL = {"model.hidden_size": 100, "model.initial.std": 0.05, "optimiser.learning_rate": 3e-4, "optimiser.eps": 1e-4}


def test_nothing_is_named_in_which_nobody_differs():
    assert names_by_settings(["copy, ntm", "copy, lstm"], [USUAL, {**USUAL, "model.hidden_size": 20}]) == [
        "copy, ntm",
        "copy, lstm",
    ]


def test_as_few_options_as_tell_all_apart_and_a_word_of_the_others():
    runs = [
        USUAL,
        {**USUAL, "model.hidden_size": 50, "optimiser.eps": 1e-8},
        {**USUAL, "optimiser.eps": 1e-8, "optimiser.learning_rate": 1e-3},
    ]
    assert names_by_settings(["ntm"] * 3, runs) == [
        "ntm, hidden_size 100, learning_rate 0.0003, ...",
        "ntm, hidden_size 50, learning_rate 0.0003, ...",
        "ntm, hidden_size 100, learning_rate 0.001, ...",
    ]


def test_an_ablation_is_called_by_what_was_changed():
    changed = [{}, {"model.hidden_size": 50}, {"optimiser.eps": 1e-8}, {"optimiser.learning_rate": 1e-3}]
    runs = [{**USUAL, **one} for one in changed for _ in range(2)]
    assert names_by_settings(["ntm"] * 8, runs)[::2] == [
        "ntm",
        "ntm, hidden_size 50",
        "ntm, eps 1e-08",
        "ntm, learning_rate 0.001",
    ]


def test_options_of_one_last_name_have_their_whole_names():
    runs = [
        {"task.size": first, "model.size": second, "sizes": [first]}
        for first, second in ((1, 1), (1, 2), (2, 1), (2, 2))
    ]
    assert names_by_settings(["ntm"] * 4, runs)[1] == "ntm, task.size 1, model.size 2, ..."


def test_values_as_people_write_them():
    def names(*values):
        return [
            name.removeprefix("ntm, x ")
            for name in names_by_settings(["ntm"] * len(values), [{"x": value} for value in values])
        ]

    assert names(None, True, 0.5, [16, 32], "cosine") == ["none", "true", "0.5", "[16, 32]", "cosine"]
    assert names([], [1]) == ["none", "[1]"]
    assert names_by_settings(["ntm"] * 2, [{}, {"x": 1}]) == ["ntm, x none", "ntm, x 1"]


few = st.integers(0, 2)


@given(st.lists(st.fixed_dictionaries({"a.x": few, "a.y": few, "b.x": few}), min_size=1, max_size=8))
def test_names_are_equal_where_the_settings_are(settings):
    names = names_by_settings(["ntm"] * len(settings), settings)
    assert [[one == other for other in names] for one in names] == [
        [one == other for other in settings] for one in settings
    ]
