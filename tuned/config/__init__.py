"""What people write in TOML, made typed; settings and their defaults. Knows no key's meaning."""
