"""The words: frozen values, keys of points, tables of states. Opens, asks and imports nothing."""
