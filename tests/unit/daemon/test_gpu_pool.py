"""The grants of a host's GPUs."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tuned.daemon.gpu_pool import NOTHING, Gpus, Grant

HALF, THIRD = Fraction(1, 2), Fraction(1, 3)


def granted(gpus: Gpus, wanted: Fraction | int) -> Grant:
    grant = gpus.grant(Fraction(wanted))
    assert grant is not None
    return grant


def test_a_whole_card_is_for_one_trial() -> None:
    gpus = Gpus(["0", "1"])
    assert [granted(gpus, 1).ids, granted(gpus, 1).ids] == [("0",), ("1",)]
    assert gpus.grant(Fraction(1)) is None
    assert gpus.grant(HALF) is None


def test_several_cards_are_given_at_once_or_not_at_all() -> None:
    gpus = Gpus(["0", "1", "2"])
    first = granted(gpus, 2)
    assert first.ids == ("0", "1")
    assert gpus.grant(Fraction(2)) is None
    assert gpus.used == {"0": 1, "1": 1, "2": 0}
    gpus.give_back(first)
    assert granted(gpus, 3).ids == ("0", "1", "2")


def test_shares_fill_a_card_before_they_touch_a_free_one() -> None:
    gpus = Gpus(["0", "1"])
    assert [granted(gpus, HALF).ids for _ in range(3)] == [("0",), ("0",), ("1",)]


def test_a_share_goes_where_it_fits_best() -> None:
    gpus = Gpus(["0", "1"])
    large, small = granted(gpus, Fraction(7, 10)), granted(gpus, HALF)
    assert (large.ids, small.ids) == (("0",), ("1",))
    assert granted(gpus, Fraction(3, 10)).ids == ("0",)
    assert granted(gpus, Fraction(3, 10)).ids == ("1",)


def test_three_thirds_are_one_card() -> None:
    gpus = Gpus(["0"])
    grants = [granted(gpus, THIRD) for _ in range(3)]
    assert gpus.grant(Fraction(1, 10**9)) is None
    for grant in grants:
        gpus.give_back(grant)
    assert granted(gpus, 1).ids == ("0",)


def test_who_wants_none_is_given_nothing_at_once() -> None:
    gpus = Gpus([])
    assert gpus.grant(None) is NOTHING
    gpus.give_back(NOTHING)
    assert gpus.used == {}


def test_what_a_host_can_never_grant_is_told() -> None:
    gpus = Gpus(["0", "1"])
    granted(gpus, 2)
    assert [gpus.missing(wanted) for wanted in (None, HALF, Fraction(2))] == ["", "", ""]
    assert gpus.missing(Fraction(4)) == "needs 4 GPUs, this host has 2"
    assert Gpus([]).missing(HALF) == "needs 0.5 GPUs, this host has none"


def test_a_card_that_is_taken_away_is_kept_to_the_end_and_not_granted_again() -> None:
    gpus = Gpus(["0", "1"])
    first = granted(gpus, 1)
    gpus.equip(["1", "2"])
    assert gpus.used == {"1": 0, "2": 0}
    assert granted(gpus, 2).ids == ("1", "2")
    gpus.give_back(first)
    assert gpus.grant(HALF) is None


def test_a_card_that_comes_back_is_still_held_by_who_had_it() -> None:
    gpus = Gpus(["0"])
    first = granted(gpus, 1)
    gpus.equip([])
    gpus.equip(["0"])
    assert gpus.grant(HALF) is None
    gpus.give_back(first)
    assert granted(gpus, HALF).ids == ("0",)


_WANTED = st.one_of(st.integers(1, 4).map(Fraction), st.fractions(Fraction(1, 1000), 1, max_denominator=1000))
_STEPS = st.lists(
    st.one_of(_WANTED, st.integers(0, 30).map(lambda index: ("end", index)), st.integers(0, 5).map(str)),
    max_size=60,
)


@given(st.integers(0, 4), _STEPS)
def test_no_card_is_granted_over_one_and_all_come_back(cards: int, steps: list[object]) -> None:
    gpus, held = Gpus(list(map(str, range(cards)))), list[Grant]()
    for step in steps:
        match step:
            case Fraction():
                grant = gpus.grant(step)
                assert grant is None or grant.share * len(grant.ids) == step
                held += [] if grant is None else [grant]
            case str():
                gpus.equip(list(map(str, range(int(step)))))
            case (_, int(index)) if index < len(held):
                gpus.give_back(held.pop(index))
        for card in map(str, range(6)):
            shares = [grant.share for grant in held if card in grant.ids]
            assert sum(shares) <= 1
            assert gpus.used.get(card, sum(shares)) == sum(shares)
    for grant in held:
        gpus.give_back(grant)
    assert not any(gpus.used.values())


def test_a_card_that_is_left_is_not_granted_whole_or_in_part() -> None:
    gpus = Gpus(["0", "1"])
    gpus.left.add("0")
    assert granted(gpus, HALF).ids == ("1",)
    assert gpus.grant(Fraction(1)) is None
    gpus.left.clear()
    assert granted(gpus, 1).ids == ("0",)
