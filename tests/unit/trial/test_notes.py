"""Notes of a trial on itself, and their bounds."""

from __future__ import annotations

from structlog.testing import capture_logs

from tuned.domain.constraints import MOST_CONSTRAINTS
from tuned.domain.ending import NAN_CONSTRAINT, Cause, Failure
from tuned.trial.notes import MOST_ATTRIBUTES, Notes, is_number, short


def test_attributes_that_cannot_be_kept_are_told_once() -> None:
    notes = Notes()
    with capture_logs() as logs:
        notes.note_attributes({"a": [1], "HOST": 2})
        notes.note_attributes([])
        notes.note_attributes({f"n{n}": n for n in range(MOST_ATTRIBUTES)})
    assert (notes.user_attrs["a"], len(notes.user_attrs), len(logs)) == ("[1]", MOST_ATTRIBUTES, 1)


def failure(*found: object) -> Failure | None:
    """Why a trial that reports these constraints, one after the other, fails."""
    notes = Notes()
    for each in found:
        notes.note_constraints(each)
    return notes.constraint_failure


def test_the_last_constraint_of_a_name_counts() -> None:
    notes = Notes()
    notes.note_constraints({"a": float("nan"), "b": 1})
    notes.note_constraints({"a": 2, "c": -1.5})
    assert (notes.constraints, notes.constraint_failure) == ({"a": 2.0, "b": 1.0, "c": -1.5}, None)


def test_a_trial_with_a_constraint_that_cannot_be_kept_fails() -> None:
    found = failure({"a": 1, "b": "x"}, {"a": 2})
    assert found == Failure(cause=Cause.NO_VALUE, message="constraint 'b': found 'x', expected a number")
    assert (failure([1]) or found).message == "found [1] as constraints, expected an object"
    nan = failure({"a": float("nan")})
    assert nan is not None
    assert (nan.detail, nan.is_crash, found.is_crash) == (NAN_CONSTRAINT, False, True)


def test_a_flood_of_constraints_is_bounded_and_fails_the_trial() -> None:
    notes = Notes()
    for n in range(2 * MOST_CONSTRAINTS):
        notes.note_constraints({f"a{n}": 1.0, "x" * 10_000 + str(n): None})
    assert len(notes.constraints) + len(notes._unkept) <= MOST_CONSTRAINTS + 1
    last = list(notes._unkept.values())[-1]
    assert last.message == f"found more than {MOST_CONSTRAINTS} constraints"


def test_true_is_no_number() -> None:
    assert [value for value in (1, 0.5, True, "1", None) if is_number(value)] == [1, 0.5]


def test_a_long_value_is_cut_for_a_message() -> None:
    assert (short("ab"), len(short("x" * 200))) == ("'ab'", 100)
