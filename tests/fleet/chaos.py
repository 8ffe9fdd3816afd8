"""Three real daemons on one real PostgreSQL, faults, and a table of what became of the promises.

``make chaos`` runs it; CHAOS_SECONDS says how long the faults last, CHAOS_SEED which they are. Afterwards
everything is let run out. The exit status is 0 if all promises were kept.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import optuna
from sqlalchemy import make_url

from tests.fleet.asking import COMMANDS, END_SECONDS, Asker, broken, obeyed_by
from tests.fleet.hosts import FleetHost, claims_of, query
from tests.fleet.lapse import Memory
from tests.fleet.ledger import VALUE, Ledger
from tests.fleet.snapshots import ONE, Source, left_in_part
from tests.fleet.verdict import Budget, Code, Study, Verdict
from tests.fleet.wire import Wire, wired_to
from tests.postgres import PostgresServer, StopMode
from tests.waiting import until
from tuned.storage.trials.settling import MOST_LOSSES

#: The directory of the hosts of ``make chaos``.
HOME = Path(".chaos").resolve()

HOSTS = 3
SLOTS = 4

#: How long a fault waits at most for the fleet to work again; a busy machine needs as long.
RECOVERY_SECONDS = 30.0

#: How long all that was begun may take to come to its end once the faults are over.
RUN_OUT_SECONDS = 300.0

#: Most take about half a second; one of nine outlives the time after which a silent host is dead.
PAUSE = "[ $((TUNED_TRIAL % 9)) = 4 ] && echo 6.5 || echo 0.$((10 + (TUNED_PARAM_X + TUNED_TRIAL) * 11 % 90))"

#: One of eight first attempts fails.
FLAKY = '$([ $(((TUNED_PARAM_X + TUNED_TRIAL) % 8 + TUNED_ATTEMPT)) = 1 ] && echo - || echo "{value}")'


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of experiment."""

    name: str
    budget: Budget
    more: str
    is_python: bool = False
    #: It brings its code.
    has_code: bool = False


KINDS = (
    Kind(name="grid", budget=Budget(points=40), more='[sampler]\nname = "grid"\n[retry]\nattempts = 1\n'),
    Kind(
        name="random", budget=Budget(points=60, trials=45),
        more='[sampler]\nname = "random"\n[budget]\ntrials = 45\n',
    ),
    Kind(
        name="tpe", budget=Budget(points=80, evaluations=40),
        more='[budget]\nevaluations = 40\n[dedup]\non_running = "wait"\n[retry]\nattempts = 1\n',
    ),
    Kind(
        name="both", budget=Budget(points=50, trials=60, evaluations=30),
        more='[budget]\ntrials = 60\nevaluations = 30\n'
        '[dedup]\non_complete = "resample"\non_running = "resample"\n',
    ),
    Kind(
        name="python", budget=Budget(points=60, evaluations=40), is_python=True,
        more='[sampler]\nname = "random"\n[budget]\nevaluations = 40\n[retry]\nattempts = 1\n',
    ),
    Kind(
        name="code", budget=Budget(points=40), has_code=True,
        more='[sampler]\nname = "grid"\n[retry]\nattempts = 1\n',
    ),
)  # fmt: skip


#: Dropped beside the others while hosts die: so code is unpacked and set up under kills.
SMALL = Kind(
    name="small", budget=Budget(points=12), has_code=True,
    more='[sampler]\nname = "grid"\n[retry]\nattempts = 1\n',
)  # fmt: skip

#: An experiment of its own, whose row is damaged.
VICTIM = "victim"

#: How its row is damaged, and made whole again.
POISONS = (
    ("state = 'wat'", "state = 'open'"),
    ("definition = '{' || definition", "definition = substr(definition, 2)"),
    ("seconds_limit = 'NaN'", "seconds_limit = NULL"),
)


class Chaos:
    """The fleet, what is done to it, and when."""

    def __init__(self, home: Path, server: PostgresServer, wire: Wire, seed: int) -> None:
        """The hosts reach the server, on which there is an empty database, by the wire."""
        self.server = server
        self.wire = wire
        self._is_read_only = False
        #: Makes the victim's row whole again; empty while it is.
        self._remedy = ""
        self.storage = server.create_database()
        self.memory = Memory(server, self.storage)
        storage = make_url(wire.url).set(database=make_url(self.storage).database).render_as_string()
        self.hosts = [FleetHost(home / f"h{n}", storage=storage, slots=SLOTS) for n in range(HOSTS)]
        for host in self.hosts:
            # It begins anew by the command by which it began.
            host.is_begun_anew = True
        self.asker = Asker()
        self.ledger = Ledger(home / "ledger")
        self._home = home
        #: The directories of code by their experiments; those at first whose snapshot may not be taken yet.
        self.sources: dict[str, Source] = {}
        self._unspoiled: set[str] = set()
        self.experiments: dict[str, Kind] = {}
        self.faults: Counter[str] = Counter()
        self.crashes: list[str] = []
        self._random = random.Random(seed)
        self._order = itertools.count()
        #: Calls and when they are due, such as the start of a host that was killed.
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._wave = self._small = 0

    def rage(self, seconds: float) -> None:
        """Faults at random, several at a time, until the time is over; then makes everything whole again."""
        end = time.monotonic() + seconds
        next_fault, wanted, patience = time.monotonic() + 2, 0, 0.0
        while time.monotonic() < end:
            now = time.monotonic()
            if now >= next_fault and (now >= patience or self.ledger.count() >= wanted):
                self._strike()
                next_fault = time.monotonic() + self._random.uniform(0.3, 2.5)
                # Some faults meet a fleet that still suffers from the last ones, others one that works again.
                wanted = self.ledger.count() + self._random.choice((0, HOSTS * SLOTS))
                patience = time.monotonic() + RECOVERY_SECONDS
            while self._due and self._due[0][0] <= time.monotonic():
                heapq.heappop(self._due)[2]()
            self._look()
            if self.server.is_running and not self.memory.is_kept and self._is_all_done():
                self.drop_wave()
            time.sleep(0.05)
        self._due.clear()
        self._start_what_is_down()

    def _look(self) -> None:
        """Notes what became of the hosts and of requests to them."""
        for host in self.hosts:
            self._note_told(host)
            host.note_return()
        self._note_crashes()
        self.asker.note_answer()
        self._spoil_sources()

    def _note_told(self, host: FleetHost) -> None:
        if host.note_told():
            self._later(1, 6, lambda: self._launch(host))

    def drop_wave(self) -> None:
        """One experiment of each kind, each on one host: the others take it over."""
        self._wave += 1
        for kind in KINDS:
            self._drop(f"{kind.name}-{self._wave}", kind)

    def _drop(self, name: str, kind: Kind) -> None:
        self.experiments[name] = kind
        space = f'[space.x]\ntype = "int"\nlow = 0\nhigh = {kind.budget.points - 1}\n'
        self._random.choice(self.hosts).drop(name, self._objective(name, kind) + space + kind.more)

    def _objective(self, name: str, kind: Kind) -> str:
        if kind.is_python:
            return self.ledger.python(kind.budget.points - 1)
        if not kind.has_code:
            return self.ledger.objective(pause=PAUSE, value=FLAKY.format(value=VALUE))
        script = self.ledger.script(pause=PAUSE, value=FLAKY.format(value=ONE))
        self.sources[name] = Source(self._home / name, self.ledger, script)
        self._unspoiled.add(name)
        return self.sources[name].text

    def _spoil_sources(self) -> None:
        """Changes the directories whose snapshot is taken: something runs already."""
        for name in [name for name in self._unspoiled if self.ledger.evaluations(name)]:
            self.sources[name].spoil()
            self._unspoiled.remove(name)

    def run_out(self) -> None:
        def is_over() -> bool:
            self._start_what_is_down()
            self._look()
            # One that is over before a host comes never is there.
            places = {name: {host.place_of(name) for host in self.hosts} - {""} for name in self.experiments}
            rejected = [name for name, theirs in places.items() if "rejected" in theirs]
            assert not rejected, f"files were rejected: {rejected}: {self.hosts[0].log_tail()}"
            return all(theirs == {"done"} for theirs in places.values())

        until(is_over, what="all experiments to be done", seconds=RUN_OUT_SECONDS)
        before = len(self.ledger.evaluations(VICTIM))
        until(
            lambda: len(self.ledger.evaluations(VICTIM)) > before + SLOTS,
            what="the experiment whose row was poisoned to go on", seconds=RUN_OUT_SECONDS,
        )  # fmt: skip

        def is_obeyed() -> bool:
            self._start_what_is_down()
            self._look()
            return not self.asker.is_busy and not any(self.broken_requests().values())

        # The verdict tells of requests that are not by then.
        with suppress(AssertionError):
            until(is_obeyed, what="requests to be obeyed", seconds=END_SECONDS)

    def broken_requests(self) -> dict[str, list[str]]:
        obeyed = [each for host in self.hosts for each in obeyed_by(host)]
        return broken(
            self.asker.requests, obeyed, {host.name: host for host in self.hosts}, self.memory.lapses
        )

    def _strike(self) -> None:
        faults: Sequence[Callable[[], str | None]] = (
            self._kill, self._kill, self._freeze, self._freeze_whole, self._terminate, self._cut, self._cut,
            self._kill_alone, self._kill_alone, self._kill_alone, self._kill_keeper, self._freeze_keeper,
            self._stop_database, self._refuse_writes, self._fall_silent, self._slow_down, self._poison,
            self._forget, self._ask, self._ask, self._ask, self._ask, self._drop_code, self._drop_code,
        )  # fmt: skip
        self._meet(self._random.choice(faults))

    def _later(self, least: float, most: float, action: Callable[[], None]) -> None:
        due = time.monotonic() + self._random.uniform(least, most)
        heapq.heappush(self._due, (due, next(self._order), action))

    def _some_host(self) -> FleetHost | None:
        up = [host for host in self.hosts if host.is_up]
        return self._random.choice(up) if up else None

    def _kill(self) -> str | None:
        host = self._some_host()
        if host is None:
            return None
        host.kill()
        self._later(0, 9, lambda: self._launch(host))
        return "daemon killed"

    def _kill_alone(self) -> str | None:
        host = self._some_host()
        if host is None:
            return None
        host.kill_alone()
        self._later(0, 6, lambda: self._launch(host))
        return "daemon killed, not its keeper"

    def _kill_keeper(self) -> str | None:
        host = self._random.choice(self.hosts)
        return "keeper killed" if host.kill_keeper() else None

    def _freeze_keeper(self) -> str | None:
        host = self._some_host()
        if host is None or host.is_frozen or not host.freeze_keeper():
            return None
        self._later(0.5, 11, host.thaw_keeper)
        return "keeper frozen"

    def _terminate(self) -> str | None:
        host = self._some_host()
        if host is None or host.is_frozen:
            return None
        host.terminate()
        self._later(1, 6, lambda: self._launch(host))
        return "daemon stopped"

    def _freeze(self) -> str | None:
        return self._freeze_host(whole=False)

    def _freeze_whole(self) -> str | None:
        return self._freeze_host(whole=True)

    def _freeze_host(self, *, whole: bool) -> str | None:
        host = self._some_host()
        if host is None or host.is_frozen:
            return None
        host.freeze(whole=whole)
        self._later(0.5, 11, lambda: self._thaw(host))
        return "host frozen" if whole else "daemon frozen"

    def _thaw(self, host: FleetHost) -> None:
        if host.is_frozen:
            host.thaw()

    def _drop_code(self) -> str | None:
        """One more experiment with its code; some of its hosts die while they unpack it and set it up."""
        if not self.server.is_running or self._is_read_only or self.memory.is_kept:
            return None
        self._small += 1
        self._drop(f"{SMALL.name}-{self._small}", SMALL)
        for _ in self.hosts:
            death = self._random.choice((self._kill, self._kill_alone, self._kill_keeper))
            self._later(0.3, 4, functools.partial(self._meet, death))
        return "hosts killed while code came"

    def _meet(self, fault: Callable[[], str | None]) -> None:
        what = fault()
        if what is not None:
            self.faults[what] += 1

    def _ask(self) -> str | None:
        """Tells a host to drain, abort or restart, by way of another one."""
        asked_on, target = self._random.sample(self.hosts, 2)
        if self.asker.is_busy or not asked_on.is_up or asked_on.is_frozen or asked_on.is_stopped:
            return None
        command = self._random.choice(COMMANDS)
        self.asker.ask(command, target, asked_on)
        return f"asked to {command} from another host"

    def _cut(self) -> str | None:
        if not self.server.is_running:
            return None
        share = self._random.choice((0.3, 1.0))
        self._query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE pid <> pg_backend_pid() AND datname IS NOT NULL AND random() < {share}"
        )
        return "connections cut"

    def _stop_database(self) -> str | None:
        if not self.server.is_running:
            return None
        mode: StopMode = self._random.choice(("fast", "immediate", "kill"))
        self.server.stop(mode)
        self._later(0.2, 10, self._start_database)
        return f"database stopped ({mode})"

    def _start_database(self) -> None:
        if not self.server.is_running:
            self.server.start()

    def _refuse_writes(self) -> str | None:
        if not self.server.is_running:
            return None
        self._set_read_only("on")
        self._later(0.5, 8, self._take_writes)
        return "database turned read-only"

    def _take_writes(self) -> None:
        if not self.server.is_running:
            self._later(0.5, 1, self._take_writes)
        elif self._is_read_only:
            self._set_read_only("off")

    def _set_read_only(self, setting: str) -> None:
        self._is_read_only = setting == "on"
        url = self.server.url()
        query(url, f"ALTER SYSTEM SET default_transaction_read_only = {setting}")
        query(url, "SELECT pg_reload_conf()")

    def drop_victim(self) -> None:
        """On every host, without an end."""
        space = '[space.x]\ntype = "int"\nlow = 0\nhigh = 1000000\n[sampler]\nname = "random"\n'
        for host in self.hosts:
            host.drop(VICTIM, "parallel = 1\n" + self.ledger.objective(pause="echo 0.5") + space)

    def _poison(self) -> str | None:
        if not self.server.is_running or self._is_read_only or self._remedy or self.memory.is_kept:
            return None
        if not self._victims("state"):
            return None
        poison, self._remedy = self._random.choice(POISONS)
        self._change_victim(poison)
        self._later(1, 9, self._mend)
        return "row poisoned"

    def _mend(self) -> None:
        if not self._remedy:
            return
        if not self.server.is_running or self._is_read_only:
            self._later(0.5, 1, self._mend)
            return
        self._change_victim(self._remedy)
        self._remedy = ""

    def _change_victim(self, change: str) -> None:
        its = f"(SELECT study_id FROM studies WHERE study_name = '{VICTIM}')"
        self._query(f"UPDATE t_study SET {change} WHERE study_id = {its}")

    def _victims(self, column: str) -> list[tuple[Any, ...]]:
        return self._query(
            f"SELECT {column} FROM t_study JOIN studies USING (study_id) WHERE study_name = '{VICTIM}'"
        )

    def _forget(self) -> str | None:
        """Forgets what is committed from now on until a moment that comes; all studies are there by now."""
        if not self.server.is_running or self._is_read_only or self._remedy or self.memory.is_kept:
            return None
        if not self._victims("state") or len(self._states()) < len(self.experiments):
            return None
        self.memory.keep()
        self._later(1, 9, self._fall_back)
        return "database forgot its last seconds"

    def _fall_back(self) -> None:
        if self.memory.is_kept:
            self._start_database()
            self.memory.fall_back()

    def _fall_silent(self) -> str:
        self.wire.fall_silent()
        self._later(0.5, 12, self.wire.speak)
        return "database fell silent"

    def _slow_down(self) -> str:
        self.wire.delay_seconds = self._random.uniform(0.01, 0.15)
        self._later(1, 10, self._speed_up)
        return "line slowed down"

    def _speed_up(self) -> None:
        self.wire.delay_seconds = 0.0

    def _launch(self, host: FleetHost) -> None:
        if not host.is_up:
            self._start(host)
        elif host.is_stopped:
            # It is still stopping: it is started once it has ended.
            self._later(0.2, 0.5, lambda: self._launch(host))

    def _start_what_is_down(self) -> None:
        self._start_database()
        self._fall_back()
        self._take_writes()
        self._mend()
        self.wire.speak()
        self._speed_up()
        self._note_crashes()
        for host in self.hosts:
            self._thaw(host)
            host.thaw_keeper()
            if not host.is_up:
                self._start(host)
            host.note_return()

    def _note_crashes(self) -> None:
        for host in self.hosts:
            if not host.is_up:
                # All that it will ever have logged is there.
                self._note_told(host)
                if not host.is_stopped:
                    self._start(host)

    def _start(self, host: FleetHost) -> None:
        """Again. One that ended without having been told to, or not well, has a defect of its own."""
        assert host.process is not None
        status = host.process.wait()
        if not host.is_stopped or status > 0:
            self.crashes.append(f"{host.name} ended with {status}: {host.log_tail()}")
        self._note_told(host)
        host.note_end()
        host.launch()

    def _is_all_done(self) -> bool:
        states = self._states()
        return len(states) == len(self.experiments) and {state for (state,) in states} <= {"done"}

    def _states(self) -> list[tuple[Any, ...]]:
        return self._query(
            f"SELECT state FROM t_study JOIN studies USING (study_id) WHERE study_name <> '{VICTIM}'"
        )

    def _query(self, statement: str) -> list[tuple[Any, ...]]:
        return query(self.storage, statement)

    def outlived(self) -> tuple[int, int]:
        """How many evaluations ended by themselves after their daemon died, and how many were adopted."""
        deaths = {host.name: [absence.began for absence in host.absences] for host in self.hosts}
        evaluations = (e for name in (*self.experiments, VICTIM) for e in self.ledger.evaluations(name))
        ended = [e for e in evaluations if e.ended is not None]
        count = sum(any(e.started < at < (e.ended or 0) for at in deaths[e.host]) for e in ended)
        [(adopted,)] = self._query("SELECT count(*) FROM t_trial WHERE adoptions > 0")
        return count, int(adopted)

    def verdicts(self) -> Mapping[str, Verdict]:
        hosts = {host.name: host for host in self.hosts}
        found = {}
        evaluated = {name: self.ledger.evaluations(name) for name in (*self.experiments, VICTIM)}
        for name, kind in self.experiments.items():
            study = optuna.load_study(study_name=name, storage=self.storage)
            failed = self._query(
                "SELECT DISTINCT trial_params.param_value FROM t_point JOIN studies USING (study_id)"
                f" JOIN trial_params USING (trial_id) WHERE study_name = '{name}' AND losses >= {MOST_LOSSES}"
            )
            given_up = {int(x) for (x,) in failed}
            claims = claims_of(self.storage, name)
            others = [e for other, theirs in evaluated.items() if other != name for e in theirs]
            judged = Study(
                study, evaluated[name], hosts, given_up, claims=claims, lapses=self.memory.lapses,
                others=others, code=self._code_of(name),
            )  # fmt: skip
            found[name] = judged.judge(kind.budget)
        return found

    def _code_of(self, name: str) -> Code | None:
        if name not in self.sources:
            return None
        looks, set_ups = self.ledger.looks(name), self.ledger.set_ups(name)
        return Code(seen=self.sources[name].seen, looks=looks, set_ups=set_ups)

    def shared(self) -> str:
        """How much there was to see of what the fleet shares, in words."""
        parts = [len({e.host for e in self.ledger.evaluations(name)}) for name in self.experiments]
        set_ups = [each for name in self.sources for each in self.ledger.set_ups(name)]
        obeyed = [each for host in self.hosts for each in obeyed_by(host)]
        statuses = Counter(request.status for request in self.asker.requests)
        return (
            f"experiments by the hosts that took part: {dict(sorted(Counter(parts).items()))}; "
            f"{len(set_ups)} set-ups, {sum(each.ended is None for each in set_ups)} in vain; "
            f"{len(self.asker.requests)} requests, {len(obeyed)} taken, exit statuses {dict(statuses)}"
        )


@contextmanager
def chaos(home: Path, seed: int) -> Iterator[Chaos]:
    with PostgresServer() as server, wired_to(server.url()) as wire:
        made = Chaos(home, server, wire, seed)
        try:
            for host in made.hosts:
                host.start()
            yield made
        finally:
            made.asker.close()
            for host in made.hosts:
                host.close()


def run(home: Path, seconds: float, seed: int) -> bool:
    """All of it below an empty directory, and prints the table; True if every promise was kept."""
    click.echo(f"seed {seed}, {seconds:g} s of faults on {HOSTS} hosts with {SLOTS} slots each")
    with chaos(home, seed) as made:
        # It looks into the tables, which the first of them makes.
        made.hosts[0].until_joined()
        made.drop_victim()
        made.drop_wave()
        made.rage(seconds)
        made.run_out()
        for host in made.hosts:
            host.terminate()
        statuses = {host.name: host.wait(60) for host in made.hosts}
        left = {host.name: len(host.processes()) for host in made.hosts}
        verdicts, outlived = made.verdicts(), made.outlived()
        of_fleet = {**made.broken_requests(), "code left in part": list(left_in_parts(made.hosts))}
        click.echo(made.shared())
        click.echo("faults: " + ", ".join(f"{count} x {what}" for what, count in sorted(made.faults.items())))
    click.echo(f"{outlived[0]} evaluations outlived a daemon, {outlived[1]} trials were adopted")
    click.echo(f"{'daemons that crashed':<32}{len(made.crashes):>4}")
    for crash in made.crashes:
        click.echo(crash)
    is_kept = _report(verdicts, of_fleet) and not made.crashes
    return _report_ends(statuses, left) and is_kept


def left_in_parts(hosts: Sequence[FleetHost]) -> Iterator[str]:
    for host in hosts:
        yield from left_in_part(host)


def _report(verdicts: Mapping[str, Verdict], of_fleet: Mapping[str, list[str]]) -> bool:
    counts = ("evaluations", "trials", "lost", "late", "died")
    promises = list(next(iter(verdicts.values())).broken)
    totals = Counter({what: sum(getattr(v, what) for v in verdicts.values()) for what in counts})
    click.echo(
        f"{len(verdicts)} experiments, {totals['trials']} trials, {totals['evaluations']} evaluations; "
        f"{totals['lost']} trials lost, {totals['late']} values late, {totals['died']} died with their daemon"
    )
    found = {
        promise: [f"{name}: {what}" for name, v in verdicts.items() for what in v.broken[promise]]
        for promise in promises
    }
    for promise, lines in (found | dict(of_fleet)).items():
        click.echo(f"{promise:<32}{len(lines):>4}")
        for line in lines:
            click.echo(f"    {line}")
    return not any((*found.values(), *of_fleet.values()))


def _report_ends(statuses: Mapping[str, int], left: Mapping[str, int]) -> bool:
    stopped_badly = [f"{host} {status}" for host, status in statuses.items() if status != 0]
    click.echo(f"{'exit statuses not 0':<32}{len(stopped_badly):>4}  {' '.join(stopped_badly)}")
    click.echo(f"{'processes left':<32}{sum(left.values()):>4}")
    return not stopped_badly and not any(left.values())


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))
    # Deleted at the start, not at the end: so the daemons' logs stay for a look.
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    is_kept = run(HOME, float(os.environ.get("CHAOS_SECONDS") or 600), seed)
    click.echo("all promises kept" if is_kept else f"BROKEN; again with: make chaos CHAOS_SEED={seed}")
    sys.exit(not is_kept)


if __name__ == "__main__":
    main()
