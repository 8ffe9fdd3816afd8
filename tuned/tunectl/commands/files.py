"""Commands of tunectl that take experiment files.

Each imports its work inside itself, because the parser of files and the machinery of trials take longer to
import than all other commands take to run.
"""

from __future__ import annotations

import click

from tuned.tunectl.session import Session


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--replace", "is_replacing", is_flag=True, help="Change what is there, for new trials.")
@click.option("--code", "with_code", is_flag=True, help="With --replace: the code too.")
@click.option("--fresh", "is_fresh", is_flag=True, help="Delete what is there first.")
@click.option("--yes", "is_sure", is_flag=True, help="With --fresh: do not ask.")
@click.option("--force", "is_forced", is_flag=True, help="With --fresh: also if other programs use it.")
@click.pass_obj
def submit(
    session: Session,
    files: tuple[str, ...],
    *,
    is_replacing: bool,
    with_code: bool,
    is_fresh: bool,
    is_sure: bool,
    is_forced: bool,
) -> int:
    """Check files and put them into the spool.

    With --replace, an experiment that is there becomes what the file says, for the trials that start
    from then on: all but its space, directions, sampler, [dedup], [[points]] and [[forbid]]. In the whole
    fleet, but a host that was given a file of its own keeps its workdir, path, interpreter, fork, env,
    parallel and [resources]. Its code stays as it was, unless --code is given too.
    With --fresh, it is deleted first, as by tunectl delete.
    FILE may be -: standard input, which must have a name in it.
    Exits 1 if a file was wrong or rejected; the others are submitted all the same.
    """
    from tuned.tunectl import submit

    if is_replacing and is_fresh:
        raise click.UsageError("--replace keeps what is there, and --fresh deletes it: expected one of them")
    if is_fresh:
        return submit.fresh(session.client, files, is_sure=is_sure, is_forced=is_forced)
    if is_replacing:
        return submit.replace(session.client, files, with_code=with_code)
    if with_code:
        raise click.UsageError("--code goes with --replace: a file that is submitted brings its code anyway")
    return submit.submit(session.client, files)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.pass_obj
def check(session: Session, files: tuple[str, ...]) -> int:
    """Say what is wrong with files, or what they run.

    Lists all problems, not the first only, and warns of programs and directories that are not on
    this host, and of an interpreter that will not do. Needs no daemon.
    """
    from tuned.tunectl import submit

    return submit.check(session.canvas, files)


@click.command("try")
@click.argument("file")
@click.option("--random", "is_random", is_flag=True, help="A random point, also if the file has [[points]].")
@click.pass_obj
def try_file(session: Session, file: str, *, is_random: bool) -> int:
    """Evaluate one point, here and now.

    The first of [[points]], or any. Runs what the daemon would run, shows its output, and says
    what would go wrong at the daemon. Nothing is written to the database.
    """
    from tuned.tunectl import attempt

    return attempt.run(session, file, is_random=is_random)


COMMANDS: tuple[click.Command, ...] = (submit, check, try_file)
