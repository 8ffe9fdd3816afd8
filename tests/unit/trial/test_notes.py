"""Notes of a trial on itself, and their bounds."""

from __future__ import annotations

from structlog.testing import capture_logs

from tuned.trial.notes import MOST_ATTRIBUTES, Notes, is_number, short


def test_attributes_that_cannot_be_kept_are_told_once() -> None:
    notes = Notes()
    with capture_logs() as logs:
        notes.note_attributes({"a": [1], "HOST": 2})
        notes.note_attributes([])
        notes.note_attributes({f"n{n}": n for n in range(MOST_ATTRIBUTES)})
    assert (notes.user_attrs["a"], len(notes.user_attrs), len(logs)) == ("[1]", MOST_ATTRIBUTES, 1)


def test_true_is_no_number() -> None:
    assert [value for value in (1, 0.5, True, "1", None) if is_number(value)] == [1, 0.5]


def test_a_long_value_is_cut_for_a_message() -> None:
    assert (short("ab"), len(short("x" * 200))) == ("'ab'", 100)
