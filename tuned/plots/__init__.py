"""Optuna's plots of a study that came over the control socket: a program of its own, which asks nobody."""
