"""The keys of the screens, in words."""

from __future__ import annotations

FOOTER = "q quit  ? keys  tab next  enter open  p pause  r resume  c cancel  d drain"

#: Of a page that lies on another one.
INNER_FOOTER = "q quit  ? keys  tab next  enter open  esc back  p pause  r resume  c cancel"

HELP = (
    "tunectl top: keys",
    "",
    "  up, down, k, j        choose a row, or move the text",
    "  page up, page down    by screens; home, end: to the first, the last",
    "  tab, shift-tab        the next list, the one before",
    "  enter, right          open the experiment or the trial that is chosen",
    "  escape, left          back",
    "  p, r, c               pause, resume, cancel the experiment; asks first",
    "  d                     drain: trials finish, then the daemon ends; asks first",
    "  q                     quit",
    "",
    "any key goes back",
)
