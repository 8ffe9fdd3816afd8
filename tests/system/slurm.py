"""A Slurm cluster of one node on a booted host: munged, slurmctld and slurmd, and a user who submits jobs."""

from __future__ import annotations

import re

from tests.system.fleet import PASSWORD, Host
from tests.waiting import until

#: There is no cgroup v2 alone on each machine that runs the tests, and Slurm accepts nothing else with it.
#: It therefore signals each process of a step: the daemon, its keeper and the trials. A requeued job begins
#: once the credential of its last run has expired: nodes refuse one that begins before.
_CONFIG = """
ClusterName=test
SlurmctldHost={name}(127.0.0.1)
SlurmUser=slurm
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
SlurmctldLogFile={log}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=20
AuthInfo=cred_expire=5
NodeName={name} NodeAddr=127.0.0.1 CPUs=8
PartitionName=all Nodes={name} Default=YES
"""

_CONTROLLER_LOG = "/var/log/slurm/slurmctld.log"

_SERVICES = ("munge", "slurmctld", "slurmd")

HOME = "/home/bob"

EXAMPLE = "/usr/share/doc/tuned-hpo/examples/slurm"


class Cluster:
    """Jobs run as bob, with the example's script and the fleet's database."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def start(self) -> None:
        self.host.write("/etc/slurm/slurm.conf", _CONFIG.format(name=self.host.name, log=_CONTROLLER_LOG))
        self.host.write("/etc/slurm/cgroup.conf", "CgroupPlugin=cgroup/v1\n")
        self.host.run("systemctl", "start", *_SERVICES)
        until(lambda: self._run("sinfo", "-h", "-o", "%T") == "idle", what="the node", seconds=60)
        # The service's settings name the database.
        self._give(".config/tuned/tuned.toml", self.host.read("/etc/tuned/tuned.toml"))
        self._give(".pgpass", f"127.0.0.1:{self.host.database_port}:tuned:tuned:{PASSWORD}\n")
        self.host.run("chmod", "600", f"{HOME}/.pgpass")
        self.host.run("chown", "--recursive", "bob:bob", HOME)

    def stop(self) -> None:
        self.host.run("scancel", "--user=bob")
        self.host.run("systemctl", "stop", *_SERVICES[::-1])

    def submit(self, name: str, text: str, *options: str) -> str:
        """Submits the example's script with an experiment, and returns the job's number."""
        self._give(f"{name}.toml", text)
        asked = ("--parsable", f"--output=%A-{name}.out", f"--chdir={HOME}", *options)
        return self._run("env", f"HOME={HOME}", "sbatch", *asked, f"{EXAMPLE}/search.sh", f"{name}.toml")

    def state(self, job: str) -> str:
        found = re.search(r"JobState=(\w+)", self._run("scontrol", "show", "job", job))
        return found[1] if found else ""

    def until_state(self, job: str, state: str, seconds: float = 60) -> None:
        def what() -> str:
            says = [self._run("scontrol", "show", "job", job), self._run("sinfo", "-R"), self.output()]
            return "\n".join([state, *says, self.host.run("tail", "-n", "40", _CONTROLLER_LOG).stdout])

        until(lambda: self.state(job) == state, what=what, seconds=seconds)

    def until_said(self, text: str, times: int, seconds: float = 60) -> None:
        """Waits until the daemons of all jobs have said this so often."""
        said = lambda: self.output().count(text) == times  # noqa: E731
        until(said, what=lambda: f"{times} times {text!r}\n{self.output()}", seconds=seconds)

    def output(self) -> str:
        """All that jobs have printed since the last ``forget``."""
        return self.host.run("sh", "-c", f"cat {HOME}/*.out 2>/dev/null; true").stdout

    def forget(self) -> None:
        self.host.run("sh", "-c", f"rm -f {HOME}/*.out")

    def _give(self, path: str, text: str) -> None:
        self.host.write(f"{HOME}/{path}", text)

    def _run(self, *command: str) -> str:
        return self.host.run(*command, user="bob").stdout.strip()
