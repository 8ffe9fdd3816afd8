"""Messages to systemd and to the journal, and the secrets that systemd gives. It must never wait."""
