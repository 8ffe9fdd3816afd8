"""The database: the only wing with SQL. Each transaction is a function, called in a thread."""
