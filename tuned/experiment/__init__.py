"""One experiment file: parsed, checked, compared, described. Reads no file, knows no database."""
