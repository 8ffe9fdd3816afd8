"""Findings for ``tunectl doctor``: the daemon's, or this command's own if the daemon cannot be reached.

Without the daemon it looks at this host's files alone, and never at the database.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tuned.config import loading
from tuned.disk import checkup
from tuned.errors import InvalidInput, Unreachable
from tuned.protocol.fleet import DoctorView, FixedView
from tuned.tunectl.unreached import log_of, start_of

if TYPE_CHECKING:
    from tuned.protocol.fleet import FindingView
    from tuned.tunectl.client import Client


def examine(client: Client, *, is_fixing: bool) -> FixedView:
    try:
        if is_fixing:
            return client.post("/v1/doctor/fix", FixedView)
        return {"fixed": [], "findings": client.get("/v1/doctor", DoctorView)["findings"]}
    except Unreachable as error:
        return _without_daemon(client, error, is_fixing=is_fixing)


def _without_daemon(client: Client, error: Unreachable, *, is_fixing: bool) -> FixedView:
    unreachable: FindingView = {
        "kind": "fault",
        "code": "unreachable",
        "what": str(error),
        "why": "this host evaluates nothing; the database and the other hosts were not looked at",
        "remedy": f"{start_of(client.paths)}; if it does not stay, {log_of(client.paths)} says why",
        "is_fixable": False,
    }
    try:
        settings = loading.load(None, os.environ)
    except InvalidInput as problems:
        return {"fixed": [], "findings": [unreachable, _misconfigured(problems)]}
    fixed = checkup.close_directories(settings) if is_fixing else []
    return {"fixed": fixed, "findings": [unreachable, *checkup.check_host(settings)]}


def _misconfigured(problems: InvalidInput) -> FindingView:
    return {
        "kind": "fault",
        "code": "configuration",
        "what": str(problems),
        "why": "the daemon does not start with it",
        "remedy": "mend the configuration; tuned --check-config shows what would be used",
        "is_fixable": False,
    }
