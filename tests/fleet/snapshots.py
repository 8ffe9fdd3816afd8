"""Experiments that bring their code, and what their hosts must have made of it.

Every file of a snapshot goes into one digest, which each trial writes into the ledger. The directory that it
was taken of is changed once it was taken: a program that runs from there gives itself away.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from tests.fleet.hosts import FleetHost
from tests.fleet.ledger import Evaluation, Ledger, Look, SetUp
from tuned.disk.code.trees import Tree, is_whole
from tuned.domain.snapshot import Manifest

#: Many files, so that a kill meets a tree while it is unpacked.
FILES, FILE_BYTES = 150, 8_000

#: Long enough to be killed in.
SET_UP = """\
mark="$TUNED_EXPERIMENT 0 ${TUNED_MARK##*/} 0 $TUNED_HOST"
read -r now _ < /proc/uptime
echo "set-up $mark $now" >> "$LEDGER"
echo half > prepared
sleep 0.7
echo whole > prepared || exit 1
read -r now _ < /proc/uptime
echo "prepared $mark $now" >> "$LEDGER"
"""

#: In its own tree, before anything else of a trial.
LOOK = """\
read -r now _ < /proc/uptime
seen=$(cat data-* one prepared run.sh set-up.sh | sha256sum | cut -c 1-16)
mark="$TUNED_EXPERIMENT $TUNED_PARAM_X ${TUNED_MARK##*/} $TUNED_ATTEMPT $TUNED_HOST"
echo "look $mark $now $seen" >> "$LEDGER"
"""

#: As ledger.VALUE, by a file of the snapshot.
ONE = "$((TUNED_PARAM_X * 3 + $(cat one)))"


class Source:
    """The directory of the code of one experiment, whose contents no other one has."""

    def __init__(self, directory: Path, ledger: Ledger, script: str) -> None:
        """The script keeps the ledger, and its value is made with ``ONE``."""
        directory.mkdir()
        # The repository around it may ignore all of it.
        subprocess.run(["git", "init", "-q", str(directory)], check=True)
        self._directory = directory
        self._ledger = ledger
        for n in range(FILES):
            word = f"{directory.name} {n}\n"
            (directory / f"data-{n:03}").write_text(word * (FILE_BYTES // len(word)))
        (directory / "one").write_text("1\n")
        (directory / "run.sh").write_text(LOOK + script.replace("{{", "{").replace("}}", "}"))
        (directory / "set-up.sh").write_text(SET_UP)
        names = sorted(path.name for path in directory.iterdir() if path.is_file())
        contents = {name: (directory / name).read_bytes() for name in names} | {"prepared": b"whole\n"}
        digest = hashlib.sha256(b"".join(contents[name] for name in sorted(contents)))
        #: What each trial must see.
        self.seen = digest.hexdigest()[:16]

    @property
    def text(self) -> str:
        return (
            f'[objective]\ncommand = ["sh", "run.sh"]\nenv = {{ LEDGER = "{self._ledger.path}" }}\n'
            f'[code]\ndir = "{self._directory}"\nsetup = ["sh", "set-up.sh"]\n'
        )

    def spoil(self) -> None:
        """Changes the directory: the snapshot is taken."""
        (self._directory / "one").write_text("1000\n")


def ran_otherwise(evaluations: Sequence[Evaluation], looks: Sequence[Look], seen: str) -> list[str]:
    """Trials whose program was not the one of the snapshot, or not prepared."""
    looked = {(look.claim, look.attempt) for look in looks}
    blind = [str(e) for e in evaluations if (e.claim, e.attempt) not in looked]
    values = [str(e) for e in evaluations if e.value not in (None, e.x * 3 + 1)]
    return blind + values + [str(look) for look in looks if look.seen != seen]


def set_up_again(
    set_ups: Sequence[SetUp], looks: Sequence[Look], hosts: Mapping[str, FleetHost]
) -> list[str]:
    """Set-ups that ran although no daemon or keeper had died since the one before began.

    If one dies before the first trial, nobody may have written down that the set-up went well.
    """
    found = []
    for name, host in hosts.items():
        theirs = sorted((each for each in set_ups if each.host == name), key=lambda each: each.started)
        used = min((look.at for look in looks if look.host == name), default=None)
        for before, again in pairwise(theirs):
            is_used = used is not None and used < again.started
            deaths = [*host.stops, *(absence.began for absence in host.absences)]
            is_cut = any(before.started - 1 <= at <= again.started for at in deaths)
            if is_used or not is_cut:
                found.append(f"{again} after {before}")
            elif before.ended is not None and before.ended > again.started:
                found.append(f"{again} beside {before}")
    return found


def began_unprepared(set_ups: Sequence[SetUp], looks: Sequence[Look]) -> list[str]:
    """Trials on hosts on which no set-up had ended by then."""
    return [
        str(look)
        for look in looks
        if not any(s.host == look.host and s.ended is not None and s.ended <= look.at for s in set_ups)
    ]


def left_in_part(host: FleetHost) -> list[str]:
    """Trees that are not whole although trials may use them, and what an earlier daemon left of one."""
    directory = host.state / "code"
    entries = sorted(directory.iterdir()) if directory.is_dir() else []
    left = [
        str(path)
        for path in entries
        if path.name.startswith(".new-") and path.lstat().st_mtime < host.launched_at
    ]
    trees = [Tree(path=path.with_suffix("")) for path in entries if path.suffix == ".files"]
    trees = [tree for tree in trees if not tree.path.name.startswith(".new-")]
    return left + [str(tree.path) for tree in trees if not _is_usable(tree)]


def _is_usable(tree: Tree) -> bool:
    """Its files are those of its name, prepared, and nobody may write to them."""
    digest = Manifest.decode(tree.record.read_bytes()).digest
    is_named = digest.startswith(tree.path.name.partition("-")[0])
    prepared = tree.path / "prepared"
    is_prepared = prepared.exists() and prepared.read_text() == "whole\n"
    are_closed = all(not path.lstat().st_mode & 0o222 for path in (tree.path, *tree.path.rglob("*")))
    return is_named and is_prepared and are_closed and is_whole(tree, digest)
