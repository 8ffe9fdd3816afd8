"""Runs one evaluation as a process tree. Has never heard of a database."""
