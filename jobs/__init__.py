"""The user interface: job files and the command line."""
