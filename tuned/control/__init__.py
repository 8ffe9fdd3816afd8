"""The control socket: which peer may ask for which thing. It does nothing of it itself."""
