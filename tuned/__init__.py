"""tuned: a hyperparameter-tuning daemon, one per host."""

__version__ = "0.1.0"
