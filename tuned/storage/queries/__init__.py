"""The queries of the control socket. They only read."""
