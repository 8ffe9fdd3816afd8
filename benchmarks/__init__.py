"""The costs of tuned, measured beside plain Optuna on the same machine in the same run; see README.md."""
