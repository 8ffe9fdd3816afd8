"""One study that cannot be read does not hide the others."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from sqlalchemy import text

from tests.factories import join, linked, make_experiment, statements
from tuned.daemon.looks import Looks
from tuned.domain.study_status import StudyStatus
from tuned.search.fault import Fault
from tuned.storage.database import Database


def set_seed(database: Database, value: str, study_id: int) -> None:
    with database.transaction() as connection:
        connection.execute(text(f"UPDATE t_study SET seed = {value} WHERE study_id = {study_id}"))


async def test_a_study_is_read_again_when_its_pause_is_over_and_costs_the_others_nothing(
    sqlite_url: str,
) -> None:
    async with linked(sqlite_url) as link:
        database = link.database
        odd, good = [
            (await asyncio.to_thread(join, database, make_experiment(name=name))).status.study_id
            for name in ("odd", "good")
        ]
        looks = Looks(link)
        set_seed(database, "'wat'", odd)
        found = await looks.at([odd, good, 99])
        fault = found[odd]
        assert isinstance(fault, Fault)
        assert (fault.reason, isinstance(found[good], StudyStatus), 99 in found) == (
            "ValueError: t_study.seed is 'wat'", True, False,
        )  # fmt: skip
        set_seed(database, "7", odd)
        looks._faults[odd] = fault = replace(fault, due=math.inf)
        with statements(database) as alone:
            await Looks(link).at([good])
        with statements(database) as both:
            assert await looks.at([odd, good]) == {odd: fault, good: found[good]}
        assert len(both) == len(alone)
        looks._faults[odd] = replace(fault, due=0)
        status = (await looks.at([odd, good]))[odd]
        assert isinstance(status, StudyStatus)
        assert status.seed == 7
