"""Files that outlive the process on this host: state directory, spool, outbox, logs of trials."""
