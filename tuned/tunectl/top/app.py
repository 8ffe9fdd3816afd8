"""``tunectl top``: the screens, the keys, and the one widget that paints them.

It owns which page is open and what the last line says. It never waits: neither for the daemon nor for the
terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tuned.tunectl.text import Canvas, Colour, cut, printable
from tuned.tunectl.top.changes import KEYS, NOTHING_CHOSEN, Change, change_of, one_line
from tuned.tunectl.top.driver import Terminal
from tuned.tunectl.top.experiment import ExperimentPage
from tuned.tunectl.top.feed import Delivery, Feed, Told
from tuned.tunectl.top.keys import FOOTER, HELP, INNER_FOOTER
from tuned.tunectl.top.overview import OverviewPage
from tuned.tunectl.top.painting import strip
from tuned.tunectl.top.paper import Page, Paper, Picture
from tuned.tunectl.top.place import Place, Shown
from tuned.tunectl.top.trial import TrialPage

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.driver import Driver
    from textual.events import Key

    from tuned.tunectl.client import Client

#: A terminal that does not keep up is asked again after this.
_BEHIND_SECONDS = 0.1

#: Lines for them.
_MOST_TROUBLES = 3

_WAITING = "waiting for the daemon's answer"


#: Further than any list is long.
_FAR = 2**31

_MOVES: dict[str, Callable[[Place], None]] = {
    **dict.fromkeys(("up", "k"), lambda place: place.move(-1)),
    **dict.fromkeys(("down", "j"), lambda place: place.move(1)),
    "pageup": lambda place: place.page(-1),
    **dict.fromkeys(("pagedown", "space"), lambda place: place.page(1)),
    **dict.fromkeys(("home", "g"), lambda place: place.move(-_FAR)),
    **dict.fromkeys(("end", "G"), lambda place: place.move(_FAR)),
    "tab": lambda place: place.turn(1),
    "shift+tab": lambda place: place.turn(-1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The letters and colours of this terminal."""

    is_ascii: bool
    has_colours: bool


@dataclass(slots=True)
class _Opened:
    """A page, where the person is on it, and its newest picture."""

    page: Page
    place: Place = field(default_factory=Place)
    picture: Picture | None = None


class _Sheet(Widget, can_focus=True):
    """The lines of the screen as they are."""

    def __init__(self, look: Look, on_key: Callable[[Key], None]) -> None:
        super().__init__()
        self._look = look
        self._press = on_key
        self.lines: list[Shown] = []

    def show(self, lines: list[Shown]) -> None:
        self.lines = lines
        self.refresh()

    def on_key(self, event: Key) -> None:
        self._press(event)

    def render_line(self, y: int) -> Strip:
        shown = self.lines[y] if y < len(self.lines) else Shown(text="")
        return strip(
            shown.text,
            self.size.width,
            is_ascii=self._look.is_ascii,
            is_reverse=shown.is_chosen,
            is_dim=shown.is_dim,
        )


class Top(App[None]):
    """Shows the overview first; each page that is opened lies on those before it."""

    ENABLE_COMMAND_PALETTE = False
    CSS = "Screen, _Sheet { background: ansi_default; color: ansi_default; } _Sheet { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [("ctrl+c", "quit", "Quit")]

    class Arrived(Message):
        """An answer of the daemon."""

        def __init__(self, delivery: Delivery | Told) -> None:
            super().__init__()
            self.delivery = delivery

    def __init__(
        self,
        client: Client,
        look: Look,
        *,
        first: Picture | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        driver_class: type[Driver] = Terminal,
    ) -> None:
        super().__init__(driver_class=driver_class, ansi_color=True)
        self._look, self._now = look, now
        self._client = client
        self._opened = [_Opened(OverviewPage(), picture=first)]
        self._problem = ""
        self._has_help = False
        #: A change that the person is asked about.
        self._asked: Change | None = None
        #: The word on the last one.
        self._said = ""
        self._will_paint = False
        self._sheet = _Sheet(look, self._press)
        self._feed = Feed(client, self._deliver)
        self._actions: dict[str, Callable[[], None]] = {
            "q": self.exit,
            "question_mark": self._show_help,
            **dict.fromkeys(("enter", "right"), self._open),
            **dict.fromkeys(("escape", "backspace", "left"), self._close_page),
        }

    def compose(self) -> ComposeResult:
        yield self._sheet

    def _deliver(self, delivery: Delivery | Told) -> None:
        """In a thread of the feed."""
        self.post_message(Top.Arrived(delivery))

    def on_mount(self) -> None:
        self._sheet.focus()
        self._feed.watch(self._opened[-1].page)
        self.paint()

    def on_unmount(self) -> None:
        self._feed.stop()

    def on_resize(self) -> None:
        self.paint()

    def on_top_arrived(self, message: Top.Arrived) -> None:
        delivery = message.delivery
        if isinstance(delivery, Told):
            self._said = delivery.text
            self.paint()
            return
        for each in self._opened:
            if each.page is delivery.page and delivery.picture is not None:
                each.picture = delivery.picture
        self._problem = "" if delivery.problem is None else one_line(delivery.problem)
        self.paint()

    def paint(self) -> None:
        """Now, or as soon as the terminal has taken all that was painted before."""
        if isinstance(self._driver, Terminal) and self._driver.is_behind:
            if not self._will_paint:
                self._will_paint = True
                self.set_timer(_BEHIND_SECONDS, self._paint_late)
            return
        self._sheet.show(self._lines())

    def _paint_late(self) -> None:
        self._will_paint = False
        self.paint()

    def _lines(self) -> list[Shown]:
        width, height = self.size
        canvas = Canvas(width=width, has_colours=self._look.has_colours)
        paper = Paper(canvas=canvas, height=height, is_ascii=self._look.is_ascii, now=self._now())
        opened = self._opened[-1]
        if self._has_help:
            body = [Shown(text=cut(each, width)) for each in HELP]
        elif opened.picture is None:
            body = self._troubles(canvas, []) if self._problem else [Shown(text=cut(_WAITING, width))]
        else:
            body = [Shown(text=opened.picture.headline(paper))]
            body += self._troubles(canvas, opened.picture.troubles())
            opened.place.take(opened.picture.sections(paper))
            body += opened.place.lines(height - 1 - len(body))
        body += [Shown(text="")] * (height - 1 - len(body))
        return [*body[: height - 1], self._footer(width)]

    def _troubles(self, canvas: Canvas, others: list[str]) -> list[Shown]:
        """At least one line, which is empty if all is well."""
        texts = [*filter(None, [self._problem]), *map(printable, others)]
        if len(texts) > _MOST_TROUBLES:
            more = len(texts) - _MOST_TROUBLES + 1
            texts[_MOST_TROUBLES - 1 :] = [f"and {more} more: tunectl status"]
        return [Shown(text=canvas.paint(cut(each, canvas.width), Colour.RED)) for each in texts or [""]]

    def _footer(self, width: int) -> Shown:
        if self._asked is not None:
            return Shown(text=cut(f"{self._asked.question}. Sure? y/n", width), is_chosen=True)
        if self._said:
            return Shown(text=cut(self._said, width), is_chosen=True)
        return Shown(text=cut(FOOTER if len(self._opened) == 1 else INNER_FOOTER, width), is_dim=True)

    def _press(self, event: Key) -> None:
        asked, self._asked, self._said = self._asked, None, ""
        if asked is not None:
            self._answer(asked, is_sure=event.key in {"y", "Y"})
        elif self._has_help and event.key != "q":
            self._has_help = False
        elif event.key in KEYS:
            self._ask(event.key)
        elif event.key in _MOVES:
            _MOVES[event.key](self._opened[-1].place)
        elif event.key in self._actions:
            self._actions[event.key]()
        else:
            return
        event.stop()
        event.prevent_default()
        self.paint()

    def _ask(self, key: str) -> None:
        opened = self._opened[-1]
        row = opened.place.chosen
        target = row.opens if row is not None and row.opens is not None else opened.page.target
        self._asked = change_of(key, target)
        if self._asked is None:
            self._said = NOTHING_CHOSEN

    def _answer(self, asked: Change, *, is_sure: bool) -> None:
        self._said = "asking the daemon" if is_sure else "nothing changed"
        if is_sure:
            self._feed.change(asked)

    def _show_help(self) -> None:
        self._has_help = True

    def _open(self) -> None:
        row = self._opened[-1].place.chosen
        if row is None or row.opens is None:
            return
        target = row.opens
        page: Page = ExperimentPage(target) if target.trial is None else TrialPage(target, target.trial)
        # The list or the output stands last.
        self._opened.append(_Opened(page, Place(focus=_FAR)))
        self._problem = ""
        self._feed.watch(page)

    def _close_page(self) -> None:
        if len(self._opened) > 1:
            self._opened.pop()
            self._problem = ""
            self._feed.watch(self._opened[-1].page)
