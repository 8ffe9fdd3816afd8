"""The database: the only wing with SQL. Each transaction is a function that callers run in a thread."""
