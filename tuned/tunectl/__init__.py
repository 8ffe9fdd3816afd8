"""The other side of the control socket. Knows neither Optuna, nor SQL, nor the daemon."""
