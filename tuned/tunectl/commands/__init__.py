"""The commands of tunectl, a module for each group of them: arguments and help, and no work of their own."""
