"""The other side of the control socket. It knows neither Optuna, nor SQL, nor the daemon."""
