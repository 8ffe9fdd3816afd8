"""The words: frozen values, keys of points, tables of states. It opens nothing and asks nobody."""
