"""``examples/fleet`` run by Ansible on booted hosts, with their namespaces in the place of ssh."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.documents import ROOT
from tests.system.machine import Machine

EXAMPLE = ROOT / "examples" / "fleet"

RUN_SECONDS = 300

#: Ansible calls ssh with a host and a command as the last two arguments.
_SSH = """#!/bin/sh
while [ $# -gt 2 ]; do shift; done
exec nsenter --target "$(cat "$LEADERS/$1")" --all \\
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -c "$2"
"""

#: A host's line of the recap.
_RECAP = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+) ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    status: int
    output: str

    @property
    def changed(self) -> dict[str, int]:
        """How many tasks changed something on each host."""
        return {host: int(count) for host, count in _RECAP.findall(self.output)}


class Playbook:
    """The example's, with the password and all else that Ansible writes in a directory of the test's own."""

    def __init__(self, home: Path, hosts: Mapping[str, Machine], inventory: Mapping[str, Any]) -> None:
        """``hosts`` are the machines by their names in the inventory."""
        self._home = home
        self._hosts = hosts
        self._inventory = home / "inventory.json"
        self._inventory.write_text(json.dumps(inventory))
        self._ssh = home / "ssh"
        self._ssh.write_text(_SSH)
        self._ssh.chmod(0o755)

    def run(self, *arguments: str, is_checked: bool = True, **variables: Any) -> Run:
        leaders = self._home / "leaders"
        leaders.mkdir(exist_ok=True)
        for name, host in self._hosts.items():
            (leaders / name).write_text(f"{host.leader()}")
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "site.yml", "--inventory", self._inventory,
             "--extra-vars", json.dumps(variables), *arguments],
            cwd=EXAMPLE, capture_output=True, text=True, check=False, timeout=RUN_SECONDS,
            stdin=subprocess.DEVNULL, env=self._environment(leaders),
        )  # fmt: skip
        run = Run(status=done.returncode, output=f"{done.stdout}{done.stderr}")
        assert not is_checked or run.status == 0, run.output
        return run

    def _environment(self, leaders: Path) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"], "HOME": str(self._home), "LANG": "C.UTF-8", "LEADERS": str(leaders),
            "ANSIBLE_HOME": str(self._home / "ansible"), "ANSIBLE_NOCOLOR": "1",
            # Its own ten seconds are few on a machine that is busy.
            "ANSIBLE_TIMEOUT": "60",
            "ANSIBLE_BECOME_METHOD": "su", "ANSIBLE_SSH_EXECUTABLE": str(self._ssh),
            "ANSIBLE_SSH_TRANSFER_METHOD": "piped",
        }  # fmt: skip
