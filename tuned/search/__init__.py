"""Decides which point is next. Starts no process."""
