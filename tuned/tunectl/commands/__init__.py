"""The commands of tunectl, a module for each group of them."""
