"""The tasks of a job: what each takes from the trunk, and the columns it writes. One module a kind."""
