"""One PostgreSQL database with all tables, which the tests of a worker use one after the other.

To make and drop one takes more CPU time than most tests of the storage. So it is only emptied between two
tests. If a test left anything else in it than rows, it is dropped, and the next test gets another one.
"""

from __future__ import annotations

from tests.factories import opened
from tests.postgres import create_database, drop_database, session


class KeptDatabase:
    def __init__(self, server: str) -> None:
        self._server = server
        self._url: str | None = None
        self._form = self._emptying = ""

    def url(self) -> str:
        """Of a database with all tables, in which no test has a row."""
        if self._url is None:
            self._url = create_database(self._server)
            with opened(self._url):
                pass
            with session(self._url) as cursor:
                cursor.execute(_FORM)
                [self._form] = cursor.fetchone()
                cursor.execute(_EMPTYING)
                [self._emptying] = cursor.fetchone()
        return self._url

    def empty(self) -> None:
        """Takes it back after a test."""
        assert self._url is not None
        with session(self._url) as cursor:
            cursor.execute(_END_OTHERS)
            cursor.execute(_FORM)
            is_as_made = cursor.fetchone() == (self._form,)
            if is_as_made:
                cursor.execute(self._emptying)
        if not is_as_made:
            self.drop()

    def drop(self) -> None:
        if self._url is not None:
            drop_database(self._url)
            self._url = None


_END_OTHERS = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

#: All but rows: whatever changes one of these catalogs makes a new row there. Three tables are never emptied,
#: because a new database has rows in them.
_FORM = """
WITH ours AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)'),
  tables AS (SELECT oid, xmin FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours))
SELECT string_agg(line, E'\n' ORDER BY line) FROM (
  SELECT 'schema ' || oid || ' ' || xmin FROM pg_namespace WHERE oid IN (SELECT oid FROM ours)
  UNION ALL SELECT 'relation ' || oid || ' ' || xmin FROM tables
  UNION ALL SELECT 'column ' || attrelid || ' ' || attnum || ' ' || xmin FROM pg_attribute
    WHERE attrelid IN (SELECT oid FROM tables)
  UNION ALL SELECT 'trigger ' || oid || ' ' || xmin FROM pg_trigger
  UNION ALL SELECT 'constraint ' || oid || ' ' || xmin FROM pg_constraint
  UNION ALL SELECT 'function ' || oid || ' ' || xmin FROM pg_proc
    WHERE pronamespace IN (SELECT oid FROM ours)
  UNION ALL SELECT 'setting ' || setdatabase || ' ' || setrole || ' ' || xmin FROM pg_db_role_setting
  UNION ALL SELECT 'database ' || oid || ' ' || xmin FROM pg_database WHERE datname = current_database()
  UNION ALL SELECT 'alembic_version ' || version_num FROM alembic_version
  UNION ALL SELECT 'version_info ' || schema_version || ' ' || library_version FROM version_info
  UNION ALL SELECT 't_meta ' || name || ' ' || value FROM t_meta
) AS lines (line)
"""

#: Makes the statements that empty the other tables and begin all sequences anew. Foreign keys and triggers
#: do not act in this session, so the order of the tables does not matter.
_EMPTYING = """
SELECT 'SET session_replication_role = replica;'
  || (SELECT string_agg(format('DELETE FROM %I;', tablename), '') FROM pg_tables
      WHERE schemaname = 'public' AND tablename NOT IN ('alembic_version', 'version_info', 't_meta'))
  || (SELECT string_agg(format('SELECT setval(%L, %s, false);', sequencename, start_value), '')
      FROM pg_sequences WHERE schemaname = 'public')
"""
