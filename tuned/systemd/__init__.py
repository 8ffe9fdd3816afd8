"""What is said to systemd and the journal, and what systemd gives. Never waits, never raises."""
