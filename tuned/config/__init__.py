"""TOML that people write, made typed; settings and their defaults. Knows no key's meaning."""
