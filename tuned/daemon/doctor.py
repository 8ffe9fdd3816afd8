"""Finds the faults of the fleet that this daemon can see, and mends those that can be mended safely.

It never changes a value or takes a point from a living host.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from tuned.disk.checkup import check_host, close_directories
from tuned.domain.counts import counted
from tuned.errors import DatabaseAway
from tuned.storage.connection import faults
from tuned.storage.hosts import HostInfo, HostRow, held, hosts
from tuned.storage.queries.experiments import paused
from tuned.storage.trials.astray import astray_points, forget_astray
from tuned.storage.trials.notices import undelivered
from tuned.storage.trials.settling import (
    name_of,
    orphaned_studies,
    settle_orphans,
    settle_unheld,
    unheld_trials,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tuned.config.settings import Settings
    from tuned.protocol.fleet import FindingView
    from tuned.storage.link import Link


_NOT_JOINED: FindingView = {
    "kind": "fault",
    "code": "not-joined",
    "what": "this host has not joined the fleet yet",
    "why": "it evaluates nothing until then",
    "remedy": "wait a moment; tunectl status says if it waits for something",
    "is_fixable": False,
}


#: systemd hands the file over at the start, so a daemon that runs does not see a change.
_AUTHENTICATE = (
    "put the password into /etc/tuned/pgpass, then: systemctl restart tuned; "
    "without the service, into the file that PGPASSFILE names"
)


_VERSIONS: tuple[tuple[str, Callable[[HostInfo], str]], ...] = (
    ("tuned", lambda info: info.version),
    ("Optuna", lambda info: info.optuna_version),
)


async def examine(settings: Settings, link: Link, *, is_member: bool) -> list[FindingView]:
    """Lists the faults of this host and the fleet, those of the database first. Never raises DatabaseAway.

    The database is only looked at once this host has joined the fleet: before, it may have no tables yet.
    """
    found = await asyncio.to_thread(check_host, settings)
    if link.message is not None:
        return [_away(link.message, link.remedy), *found]
    if not is_member:
        return [_NOT_JOINED, *found]
    try:
        rows = await link.ask(hosts)
        holding = await link.ask(held)
        left = await link.ask(unheld_trials)
        astray = await link.ask(astray_points)
        stopped = await link.ask(paused)
        untold = await link.ask(undelivered)
    except DatabaseAway as error:
        return [_away(str(error), error.remedy), *found]
    return [
        *_unreadable(rows),
        *_mixed(rows),
        *_orphans(rows, holding),
        *_unheld(left),
        *_astray(astray),
        *(paused_finding(name, reason) for name, reason in stopped.items()),
        *(_untold(name, problem) for name, problem in untold.items()),
        *found,
    ]


async def fix(settings: Settings, link: Link, *, is_member: bool) -> list[str]:
    """Mends the faults that can be mended safely, and returns a line for each repair."""
    done = await asyncio.to_thread(close_directories, settings)
    if not is_member:
        return done
    try:
        for study_id in await link.call(orphaned_studies):
            name = await link.call(name_of, study_id)
            for number in await link.call(settle_orphans, study_id):
                done.append(f"trial {number} of {name}: ended as lost, its point is free")
        for name in await link.call(unheld_trials):
            for number in await link.call(settle_unheld, name):
                done.append(f"trial {number} of {name}: ended as lost")
        for name in await link.call(astray_points):
            count = await link.call(forget_astray, name)
            done.append(f"{counted(count, 'point')} of {name} without a trial: forgotten")
    except DatabaseAway:
        # The next examination reports it first.
        return done
    return done


def paused_finding(name: str, reason: str) -> FindingView:
    """An experiment that goes on only when a person says so; ``reason`` is empty if a person paused it."""
    return {
        "kind": "fault" if reason else "note",
        "code": "paused",
        "what": f"{name} is paused",
        "why": reason or "a person paused it, and nothing new starts",
        "remedy": ("fix it, then: " if reason else "") + f"tunectl resume {name}",
        "is_fixable": False,
    }


def _untold(name: str, problem: str) -> FindingView:
    return {
        "kind": "note",
        "code": "notification-undelivered",
        "what": f"a notification of {name} could not be sent: {problem}",
        "why": "it is tried again for a day; nothing else waits for it",
        "remedy": "check [notify] in its file or in tuned.toml; the journal of the host that tried says more",
        "is_fixable": False,
    }


def _away(reason: str, remedy: str) -> FindingView:
    return {
        "kind": "fault",
        "code": "database-away",
        "what": reason,
        "why": "nothing new starts; what runs goes on, and its results wait on this host's disk",
        "remedy": _AUTHENTICATE if "password" in reason else remedy or faults.SERVER,
        "is_fixable": False,
    }


def _unreadable(rows: Sequence[HostRow]) -> Iterator[FindingView]:
    for row in rows:
        if row.unreadable:
            yield {
                "kind": "fault",
                "code": "unreadable-host",
                "what": f"the row of host {row.name} in t_host cannot be read: {row.unreadable}",
                "why": "nobody knows its slots and versions, or whether it lives; all other hosts go on",
                "remedy": "mend or delete the row; a daemon of that name writes it anew when it starts",
                "is_fixable": False,
            }


def _mixed(rows: Sequence[HostRow]) -> Iterator[FindingView]:
    for program, version_of in _VERSIONS:
        by_version: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            if not row.dead and version_of(row.info):
                by_version[version_of(row.info)].append(row.name)
        if len(by_version) > 1:
            listed = "; ".join(
                f"{version} on {', '.join(names)}" for version, names in sorted(by_version.items())
            )
            yield {
                "kind": "fault",
                "code": "mixed-versions",
                "what": f"the hosts have different versions of {program}: {listed}",
                "why": "they share tables whose meaning may differ between versions",
                "remedy": "install one version everywhere; drain a host before its upgrade",
                "is_fixable": False,
            }


def _orphans(rows: Sequence[HostRow], holding: Mapping[str, int]) -> Iterator[FindingView]:
    living = {row.incarnation: row.name for row in rows if not row.dead}
    names = {row.incarnation: row.name for row in rows}
    for incarnation, count in holding.items():
        if incarnation not in living:
            who = names.get(incarnation, "an earlier daemon")
            yield {
                "kind": "fault",
                "code": "unsettled-trials",
                "what": f"RUNNING in the database: {counted(count, 'trial')} of {who}, which is dead",
                "why": "their points are not evaluated by anybody, and their experiments cannot end",
                "remedy": "wait a beat: any living host settles them",
                "is_fixable": True,
            }


def _unheld(left: Mapping[str, Sequence[int]]) -> Iterator[FindingView]:
    for name, numbers in left.items():
        yield {
            "kind": "fault",
            "code": "unheld-trials",
            "what": f"trials of {name} are RUNNING and no host holds them: {', '.join(map(str, numbers))}",
            "why": "they never end by themselves; a hand in the database, or a fault, left them so",
            "remedy": "end them in the database",
            "is_fixable": True,
        }


def _astray(points: Mapping[str, int]) -> Iterator[FindingView]:
    for name, count in points.items():
        yield {
            "kind": "fault",
            "code": "points-without-trial",
            "what": f"{counted(count, 'point')} of {name} without a trial, visited or free in the database",
            "why": "somebody deleted the trials with SQL; the walk does not come to these points again",
            "remedy": "forget the points, so that they may be evaluated again",
            "is_fixable": True,
        }
