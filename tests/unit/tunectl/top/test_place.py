"""The place of a person on a screen: it stays when rows move, and all fits the height."""

from __future__ import annotations

from tuned.tunectl.top.paper import Row, Section, Target, text_section
from tuned.tunectl.top.place import Place, shared


def a_list(*names: str, least: int = 3) -> Section:
    rows = [Row(lines=(name,), key=name, opens=Target(name)) for name in names]
    return Section(head="NAME", rows=rows, least=least)


def texts(place: Place, height: int) -> list[str]:
    return [f"{'>' if each.is_chosen else ''}{each.text}" for each in place.lines(height)]


def test_the_chosen_row_stays_chosen_when_others_come_and_go() -> None:
    place = Place()
    place.take([a_list("a", "b", "c")])
    place.move(1)
    place.take([a_list("z", "a", "b")])
    assert place.chosen is not None
    assert (place.chosen.key, texts(place, 9)) == ("b", ["NAME", "z", "a", ">b"])
    place.take([a_list("z")])
    assert texts(place, 9) == ["NAME", ">z"]
    place.take([a_list()])
    assert place.chosen is None


def test_a_long_list_says_where_it_is_and_shows_the_chosen_row() -> None:
    place = Place()
    place.take([a_list(*"abcdefgh")])
    assert texts(place, 5) == ["NAME", ">a", "b", "c", "  1 to 3 of 8"]
    place.page(1)
    place.move(1)
    assert texts(place, 5) == ["NAME", "b", "c", ">d", "  2 to 4 of 8"]
    place.move(-1)
    assert texts(place, 5) == ["NAME", "b", ">c", "d", "  2 to 4 of 8"]
    place.move(2**31)
    assert texts(place, 5) == ["NAME", "f", "g", ">h", "  6 to 8 of 8"]


def test_the_keys_go_to_one_section_after_the_other() -> None:
    place = Place()
    place.take([a_list("a"), a_list("b")])
    place.turn(1)
    assert texts(place, 9) == ["NAME", "a", "", "NAME", ">b"]
    place.turn(1)
    assert texts(place, 9)[1] == ">a"
    place.turn(-1)
    assert place.focus == 1


def test_a_text_that_grows_shows_its_end_until_a_person_goes_up() -> None:
    def log(count: int) -> list[Section]:
        return [text_section("OUTPUT", [str(number) for number in range(count)], follows=True)]

    place = Place()
    place.take(log(9))
    assert texts(place, 4) == ["OUTPUT", "7", "8", "  8 to 9 of 9"]
    place.take(log(10))
    assert texts(place, 4) == ["OUTPUT", "8", "9", "  9 to 10 of 10"]
    place.move(-3)
    place.take(log(11))
    assert texts(place, 4) == ["OUTPUT", "5", "6", "  6 to 7 of 11"]
    assert place.chosen is None


def test_sections_share_a_height_that_is_too_small() -> None:
    assert shared([9, 9, 9], [4, 4, 4], 30) == [9, 9, 9]
    assert shared([9, 9, 2], [4, 4, 4], 15) == [9, 4, 2]
    assert shared([9, 9, 9], [4, 4, 4], 6) == [4, 2, 0]
    assert shared([9], [4], -3) == [0]
    place = Place()
    place.take([a_list("a"), a_list("b")])
    assert [len(place.lines(height)) for height in (0, 1, 2, 3)] == [0, 1, 2, 3]


def test_nothing_happens_without_sections() -> None:
    place = Place()
    place.move(1)
    place.turn(1)
    place.page(1)
    assert (place.chosen, place.lines(9)) == (None, [])


def test_of_a_row_with_a_note_the_first_line_is_the_chosen_one() -> None:
    place = Place()
    place.take([Section(head="NAME", rows=[Row(lines=("a", "  note"), key="a")])])
    assert texts(place, 9) == ["NAME", ">a", "  note"]
