"""The tables: Optuna's own, as its models define them, and ours, whose names begin with ``t_``.

Optuna's tables hold the measurements. Our tables hold the claims, and, in columns, the origin and the end of
each trial of ours. Optuna's attributes repeat these, so that other programs see them. Owns declarations only:
``migrations`` creates our tables, and this module must never run a statement.
"""

from __future__ import annotations

from typing import Any, cast

from optuna.storages._rdb import models
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    and_,
    false,
    literal,
    text,
    true,
)

from tuned.domain.states import PointState

#: The version of our tables. Each change of them adds a step to ``migrations.MIGRATIONS``.
VERSION = 1

#: The study attribute that distinguishes a study from a deleted one with the same id.
UID_ATTRIBUTE = "tuned:uid"


def _optuna_table(model: Any) -> Table:
    return cast("Table", model.__table__)


studies = _optuna_table(models.StudyModel)
study_user_attributes = _optuna_table(models.StudyUserAttributeModel)
study_directions = _optuna_table(models.StudyDirectionModel)
study_system_attributes = _optuna_table(models.StudySystemAttributeModel)
trials = _optuna_table(models.TrialModel)
trial_params = _optuna_table(models.TrialParamModel)
trial_values = _optuna_table(models.TrialValueModel)
trial_intermediate_values = _optuna_table(models.TrialIntermediateValueModel)
trial_user_attributes = _optuna_table(models.TrialUserAttributeModel)
trial_system_attributes = _optuna_table(models.TrialSystemAttributeModel)
trial_heartbeats = _optuna_table(models.TrialHeartbeatModel)

metadata = MetaData()

t_meta = Table(
    "t_meta",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", String(256), nullable=False),
)

#: Columns of t_study that count its ended trials, by how they ended.
ENDED = ("complete", "reused", "failed", "skipped", "pruned")

t_study = Table(
    "t_study",
    metadata,
    Column(
        "study_id",
        Integer,
        ForeignKey(studies.c.study_id, ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    # Also a study attribute, because SQLite gives the id of a deleted study to the next one.
    Column("uid", String(32), nullable=False),
    Column("definition", Text, nullable=False),
    # 1, and one more each time that a person replaces the definition or a host's own keys.
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("state", String(16), nullable=False),
    # The whole fleet shares it, for the walk and for samplers that must agree on a seed.
    Column("seed", BigInteger, nullable=False),
    Column("size", BigInteger),
    Column("trials_limit", Integer),
    Column("evaluations_limit", Integer),
    Column("seconds_limit", Float),
    Column("trials", Integer, nullable=False, server_default="0"),
    Column("evaluations", Integer, nullable=False, server_default="0"),
    # Points that are done or failed. The space is exhausted once this reaches its size.
    Column("visited", BigInteger, nullable=False, server_default="0"),
    # The transaction that ends a trial counts it. Other programs do not count theirs.
    *(Column(name, Integer, nullable=False, server_default="0") for name in ENDED),
    # The next place of the walk.
    Column("cursor", BigInteger, nullable=False, server_default="0"),
    # Seconds since 1970, by the database's own clock.
    Column("first_claim", Float(53)),
    # The same, when it was done or cancelled; null while it is neither.
    Column("ended", Float(53)),
    # Why it ends, or has ended, for people. No trial starts any more once this is set.
    Column("ended_by", String(400)),
    # By which values it ends, and which are better, as JSON.
    Column("ends", Text),
    # Of which events people are told, between commas; null: as the hosts' settings say.
    Column("announces", String(64)),
    # Whether running trials are killed when its values, a trial or its time end it.
    Column("aborts", Boolean, nullable=False, server_default=false()),
    # While stalling has a limit, or better values are told: the values to be bettered as JSON, the number of
    # the trial that gave the newest of them, and the evaluated trials since.
    Column("front", Text),
    Column("better", Integer),
    Column("stalled", Integer, nullable=False, server_default="0"),
    # How many trials that other programs ended were held against the target.
    Column("judged", Integer, nullable=False, server_default="0"),
    # A digest of the last crash, and how many in a row were like it, until there is a value.
    Column("last_failure", String(32)),
    Column("alike", Integer, nullable=False, server_default="0"),
    # The host on which all of these were. Null if it was more than one.
    Column("alike_on", String(100)),
    # Null if a person paused it, or nobody did.
    Column("pause_reason", String(400)),
)

#: Columns of t_study that say by which values it ends, how far it is, and why it is paused.
PROGRESS = ("ends", "front", "better", "stalled", "complete", "announces", "pause_reason")

#: True if our row belongs to the study that has its id now. If the database enforces no foreign keys, a
#: deleted study leaves its row behind, and a new study may get its id.
UID_KEPT = and_(
    study_system_attributes.c.study_id == t_study.c.study_id,
    study_system_attributes.c.key == UID_ATTRIBUTE,
    study_system_attributes.c.value_json == literal('"').concat(t_study.c.uid).concat('"'),
)

t_revision = Table(
    "t_revision",
    metadata,
    Column("study_id", Integer, ForeignKey(t_study.c.study_id, ondelete="CASCADE"), nullable=False),
    Column("revision", Integer, nullable=False),
    # Seconds since 1970, by the database's own clock.
    Column("since", Float(53), nullable=False),
    # The person, as the host that was asked knows them, and that host.
    Column("user_name", String(256), nullable=False),
    Column("host", String(100), nullable=False),
    # Words for people, as a JSON array.
    Column("changes", Text, nullable=False),
    PrimaryKeyConstraint("study_id", "revision"),
)

#: The file of a study as a person dropped it, for hosts on which nobody did.
t_file = Table(
    "t_file",
    metadata,
    Column(
        "study_id",
        Integer,
        ForeignKey(t_study.c.study_id, ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    # On which it was dropped.
    Column("host", String(100), nullable=False),
    # Without suffix.
    Column("name", String(100), nullable=False),
    # Bytes, because a database may have an encoding that cannot hold the text.
    Column("content", LargeBinary, nullable=False),
)

#: Snapshots of code, by digest.
t_code = Table(
    "t_code",
    metadata,
    Column("digest", String(64), primary_key=True),
    # Its files, as domain/snapshot encodes them.
    Column("files", LargeBinary, nullable=False),
    # Seconds since 1970, by the database's own clock: when somebody last gave it.
    Column("given", Float(53), nullable=False),
)

#: The archive of a snapshot in pieces, because neither PostgreSQL nor a connection likes a large value.
t_code_part = Table(
    "t_code_part",
    metadata,
    Column("digest", String(64), ForeignKey(t_code.c.digest, ondelete="CASCADE"), nullable=False),
    # From 0, without gaps.
    Column("part", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("digest", "part"),
)

#: The snapshot of a study from a revision of its definition on.
t_study_code = Table(
    "t_study_code",
    metadata,
    Column("study_id", Integer, ForeignKey(t_study.c.study_id, ondelete="CASCADE"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    PrimaryKeyConstraint("study_id", "revision"),
)

#: A host removes the outputs of these studies, and of no others, whenever it comes to know of it.
t_deleted = Table(
    "t_deleted",
    metadata,
    Column("uid", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("definition", Text, nullable=False),
    # Seconds since 1970, by the database's own clock.
    Column("since", Float(53), nullable=False),
)

t_host = Table(
    "t_host",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("installation_id", String(32), nullable=False),
    Column("incarnation", String(32), nullable=False, unique=True),
    Column("beat", BigInteger, nullable=False, server_default="0"),
    Column("dead", Boolean, nullable=False, server_default=false()),
    # The number of the newest record of its outbox that was told. If it is lower than the host knows, the
    # database has forgotten its last transactions.
    Column("told", BigInteger, nullable=False, server_default="0"),
    # The facts that the host reports, as JSON: slots, versions, state.
    Column("info", Text, nullable=False, server_default="{}"),
)

#: Requests of people to a host other than the one whose socket they used.
t_request = Table(
    "t_request",
    metadata,
    Column("request_id", String(32), primary_key=True),
    # Of the asked host, when it was asked: a later one is not bound by it.
    Column("incarnation", String(32), nullable=False),
    # A value of HostCommand; a newer version may write others.
    Column("command", String(16), nullable=False),
    # The person, as the host whose socket was used knows them, and that host.
    Column("user_name", String(256), nullable=False),
    Column("host", String(100), nullable=False),
    # Seconds since 1970, by the database's own clock: it is not taken later.
    Column("expires", Float(53), nullable=False),
    # The asked host has taken it.
    Column("seen", Boolean, nullable=False, server_default=false()),
    # The state that followed, or why none did; empty before.
    Column("state", String(16), nullable=False, server_default=""),
    Column("refusal", Text, nullable=False, server_default=""),
)

t_point = Table(
    "t_point",
    metadata,
    Column("study_id", Integer, ForeignKey(t_study.c.study_id, ondelete="CASCADE"), nullable=False),
    Column("key", String(32), nullable=False),
    # 0, or the number of the repetition if [dedup] evaluates a point again on purpose.
    Column("replica", Integer, nullable=False, server_default="0"),
    # The trial that holds the point, or that held it last.
    Column("trial_id", Integer, nullable=False),
    Column("incarnation", String(32), nullable=False),
    Column("state", String(8), nullable=False),
    Column("losses", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("study_id", "key", "replica"),
)

#: The rows that a claim, a settlement or a refresh looks for. They stay few, however long the study gets.
_open = t_point.c.state.in_([PointState.FREE.value, PointState.HELD.value])

# Not partial on SQLite, because its planner does not see that `state = 'held'` is one of these.
Index("t_point_open", t_point.c.state, t_point.c.study_id, postgresql_where=_open)

Index("t_point_trial", t_point.c.trial_id)

t_trial = Table(
    "t_trial",
    metadata,
    Column(
        "trial_id",
        Integer,
        ForeignKey(trials.c.trial_id, ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    # Values of TrialKind and Origin.
    Column("kind", String(16), nullable=False),
    Column("origin", String(16), nullable=False),
    # The claim that the trial came from, if any. A database that forgot its last transactions gives ids of
    # trials again, but nobody gives the id of a claim again.
    Column("claim_id", String(32), unique=True),
    # Null if no host ever had it.
    Column("host", String(100)),
    # The trial that has the point of a duplicate, or for which a value came too late.
    Column("twin_id", Integer),
    # A value of Cause, once the trial has failed.
    Column("cause", String(16)),
    # The revision of the definition that its host had. Null if no host evaluated it.
    Column("revision", Integer),
    # How often it was tried. The tell writes it.
    Column("attempts", Integer, nullable=False, server_default="1"),
    # How many were charged for it while it ran: a settlement refunds those that had not ended by themselves.
    Column("evaluations", Integer, nullable=False, server_default="1"),
    # How many daemons of its host have gone on with it.
    Column("adoptions", Integer, nullable=False, server_default="0"),
    # False for a crash before the study's first value, and for one that was given back.
    Column("is_charged", Boolean, nullable=False, server_default=true()),
    # Of a crash: how many trials of the study had ended well when it was told. Null for all others.
    Column("went_well", Integer),
    # How long its ending waited for the database. Null if it was told at once.
    Column("waited_seconds", Float),
)

#: The end of the output of failed trials, for hosts that do not have it.
t_output = Table(
    "t_output",
    metadata,
    Column(
        "trial_id",
        Integer,
        ForeignKey(trials.c.trial_id, ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("study_id", Integer, nullable=False),
    # Bytes, because output need not be text.
    Column("output", LargeBinary, nullable=False),
)

Index("t_output_study", t_output.c.study_id, t_output.c.trial_id)

#: News of a study that people are told, by occasion: the newest alone. A row stays when it is told.
t_notice = Table(
    "t_notice",
    metadata,
    Column("study_id", Integer, ForeignKey(t_study.c.study_id, ondelete="CASCADE"), nullable=False),
    # A value of Occasion.
    Column("occasion", String(16), nullable=False),
    # By which a receiver knows a notice that comes twice.
    Column("id", String(32), nullable=False),
    # For people.
    Column("words", String(400), nullable=False),
    # The number of the trial that it is about, if any, and of the last one that was told.
    Column("trial", Integer),
    Column("told_trial", Integer),
    # Seconds since 1970, by the database's own clock: when it came, and when it was tried last.
    Column("since", Float(53), nullable=False),
    Column("tried", Float(53)),
    # The same: from when on any host may try. That of a host that tries lies ahead, so it lapses with the
    # host. Null once it was told, or given up.
    Column("due", Float(53)),
    Column("tries", Integer, nullable=False, server_default="0"),
    # Of the newest try: only its host may say how it went.
    Column("claim_id", String(32)),
    # Why the newest try failed, for people.
    Column("problem", String(400)),
    PrimaryKeyConstraint("study_id", "occasion"),
)

#: Plain Optuna enforces no foreign keys on SQLite when it deletes a study, and SQLite reuses ids. A point
#: whose trial was deleted belongs to trial 0, which never exists.
SQLITE_TRIGGER = text(
    "CREATE TRIGGER IF NOT EXISTS t_trial_deleted AFTER DELETE ON trials"
    " BEGIN DELETE FROM t_trial WHERE trial_id = OLD.trial_id;"
    " DELETE FROM t_output WHERE trial_id = OLD.trial_id;"
    " UPDATE t_point SET trial_id = 0 WHERE trial_id = OLD.trial_id; END"
)

#: Our indexes on Optuna's table. They find the last number of a study, and its trials that have not ended.
TRIAL_INDEXES = (
    text("CREATE INDEX IF NOT EXISTS t_trials_last ON trials (study_id, trial_id)"),
    text("CREATE INDEX IF NOT EXISTS t_trials_waiting ON trials (study_id) WHERE state = 'WAITING'"),
    text("CREATE INDEX IF NOT EXISTS t_trials_running ON trials (study_id) WHERE state = 'RUNNING'"),
)
