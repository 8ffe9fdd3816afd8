"""The control socket: who may ask what. Does nothing of it itself."""
