"""People are told of an experiment: by one host, also after a crash, and never in a trial's way."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sqlalchemy import select, update

from tests.acceptance.conftest import MakeDaemon
from tests.acceptance.daemon import Daemon, an_experiment
from tests.factories import opened
from tests.postgres import PostgresServer
from tests.receiver import Receiver, receiving
from tests.waiting import until
from tuned.storage.tables.schema import t_notice

#: The value is the point.
BUDGET = '[budget]\nevaluations = 3\n[sampler]\nname = "grid"\n'


def notifying(url: str, on: str = '["done"]', command: str = ".") -> str:
    return an_experiment(command, more=f'{BUDGET}[notify]\non = {on}\nurl = "{url}"\n')


def told(receiver: Receiver, count: int, *daemons: Daemon) -> None:
    until(
        lambda: len(receiver.got) >= count,
        what=lambda: f"{count} notifications, got {receiver.texts}; {[each.log_tail() for each in daemons]}",
        seconds=60,
    )


def test_the_end_is_told_once_and_no_reader_sees_the_address(make: MakeDaemon, database_url: str) -> None:
    with receiving() as receiver:
        daemon = make(storage=database_url).start()
        daemon.run("exp", notifying(receiver.url))
        told(receiver, 1, daemon)
        [said] = receiver.got
        words = r"exp is over: 3 evaluations; best \d in trial \d on alpha"
        assert re.fullmatch(words, said["text"])
        assert said["content"] == said["text"]
        assert (said["event"], said["experiment"], said["state"]) == ("done", "exp", "done")
        shown = daemon.tunectl("show", "exp", "--json").stdout + daemon.tunectl("show", "exp").stdout
        assert f"http://127.0.0.1:{receiver.port}/…" in shown
        until(lambda: "notification sent" in daemon.log.read_text(), what="the journal to say so")
        assert "very-secret" not in shown + daemon.log.read_text()


def lapse(url: str) -> None:
    """Ends the claims of all hosts, as time does."""
    with opened(url) as database, database.transaction() as connection:
        connection.execute(update(t_notice).where(t_notice.c.due.is_not(None)).values(due=0.0))


def test_a_host_that_dies_while_it_tells_leaves_it_to_another_one(
    make: MakeDaemon, postgresql_url: str
) -> None:
    with receiving(hangs=True) as receiver:
        first = make("one", storage=postgresql_url, host="one").start()
        first.run("exp", notifying(receiver.url))
        told(receiver, 1, first)
        first.kill()
        receiver.is_open.set()
        second = make("two", storage=postgresql_url, host="two").start()
        lapse(postgresql_url)
        told(receiver, 2, second)
        assert [each["host"] for each in receiver.got] == ["one", "two"]
        assert receiver.got[0]["id"] == receiver.got[1]["id"]


def settled(url: str) -> bool:
    with opened(url) as database, database.reading() as connection:
        return connection.execute(select(t_notice.c.due)).scalars().all() == [None]


def test_a_command_gets_the_news_on_its_standard_input(make: MakeDaemon, tmp_path: Path) -> None:
    daemon = make()
    with daemon.config.open("a") as config:
        config.write(f'[notify]\ncommand = ["sh", "-c", \'cat > {tmp_path}/$1\', "sh", "said"]\n')
    daemon.start()
    daemon.run("exp", an_experiment(".", more=BUDGET))
    until((tmp_path / "said").exists, what="the command to run")
    until(lambda: (tmp_path / "said").read_text().endswith("\n"), what="the command to read it")
    assert json.loads((tmp_path / "said").read_text())["experiment"] == "exp"


def test_news_that_arrived_while_the_database_was_cut_off_is_not_told_again(
    make: MakeDaemon, postgres: PostgresServer
) -> None:
    with receiving(hangs=True) as receiver:
        daemon = make(storage=postgres.create_database()).start()
        daemon.run("exp", notifying(receiver.url))
        told(receiver, 1, daemon)
        postgres.stop()
        receiver.is_open.set()
        until(lambda: "notification sent" in daemon.log.read_text(), what="the answer")
        postgres.start()
        until(lambda: settled(daemon.storage), what="the database to know it", seconds=60)
        assert len(receiver.got) == 1
