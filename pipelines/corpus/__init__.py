"""The input: its plan, its row groups and its duplicate ids."""
