"""The socket on which an objective reports: the trial's end of it."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from tests.integration.worker.channels import ends
from tuned.worker.channel import ASK, Channel


def test_a_report_is_one_line_however_long_it_is() -> None:
    with ends() as each:
        report = {"user_attrs": {"a": "x" * 10**6}}
        with each.ours.makefile("rb") as lines:
            telling = threading.Thread(target=each.channel.tell, args=(report,))
            telling.start()
            assert len(lines.readline()) > 10**6
            telling.join()


def test_no_program_that_the_objective_starts_holds_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        os.set_inheritable(theirs.fileno(), True)
        Channel(theirs.fileno())
        assert not os.get_inheritable(theirs.fileno())


def test_a_question_waits_for_its_answer() -> None:
    with ends() as each:
        each.answer([], team="a" * 10**5)
        assert each.channel.ask()["user_attrs"] == {"team": "a" * 10**5}
        assert each.told() == [ASK]


def test_a_question_that_nobody_can_answer_is_an_error() -> None:
    with ends() as each:
        each.ours.sendall(b"null\n")
        with pytest.raises(RuntimeError, match="cannot tell how the study stands"):
            each.channel.ask()
        each.ours.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionError, match="the daemon is gone"):
            each.channel.ask()
