"""Runs one evaluation as a process tree. It must never know a database."""
