"""The report of a run, as values, as a console summary and as an HTML page."""
