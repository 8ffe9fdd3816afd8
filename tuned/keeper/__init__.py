"""The process trees of this host's trials: begun, watched and ended for the daemon."""
