"""The fleet in a browser: pages with twins in JSON, changes, and optuna-dashboard below ``/optuna/``."""
