"""The rooms of one daemon, wired as the daemon wires them, without a process and a socket of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuned.daemon.scheduler import Scheduler
from tuned.daemon.teller import Teller
from tuned.disk.outbox import Outbox
from tuned.disk.spool import Spool
from tuned.disk.state import StateDirectory
from tuned.events import Events
from tuned.keeper.runs import Runs
from tuned.storage.link import Link
from tuned.trial.evaluation import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """One host with one slot."""

    home: Path
    link: Link
    spool: Spool
    events: Events
    outbox: Outbox
    teller: Teller
    scheduler: Scheduler

    def drop(self, name: str, text: str) -> None:
        """Puts a whole file into the spool at once."""
        hidden = self.spool.path / f".{name}"
        hidden.write_text(text)
        hidden.rename(self.spool.path / f"{name}.toml")

    def files(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.spool.path / folder).iterdir())


@contextmanager
def wired(link: Link, home: Path) -> Iterator[Rooms]:
    (home / "spool").mkdir(mode=0o700)
    with StateDirectory.open(home / "state") as state, Spool(home / "spool") as spool:
        outbox = Outbox(state.outbox)
        teller = Teller(link, outbox)
        site = Site(host="h1", state=state, cgroups=None, grace_seconds=0.0)
        yield Rooms(
            home=home,
            link=link,
            spool=spool,
            events=Events("h1"),
            outbox=outbox,
            teller=teller,
            scheduler=Scheduler(link, teller, site, Runs(1), 1),
        )
