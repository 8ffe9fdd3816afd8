"""Bounds that both sides of the socket keep."""

from __future__ import annotations

#: How many trials one page holds, if the request does not say, and at most.
TRIALS_PER_PAGE = 100

MOST_TRIALS_PER_PAGE = 1000

#: How many of the trials that improved the best value an answer has at most.
MOST_IMPROVEMENTS = 100

#: How many letters of a trial's last line go into a status at most.
MOST_LINE_LETTERS = 200

#: How much of the end of a trial's output can be asked for.
MOST_TAIL_BYTES = 2**20

#: An experiment file with more is refused.
MOST_FILE_BYTES = 2**20

#: How long a request waits for the database at most, if its peer prefers to wait.
MOST_WAIT_SECONDS = 50.0

#: Rows of trials with more, as lines of JSON, are refused. This is some 100,000 trials.
MOST_IMPORTED_BYTES = 64 * 2**20
