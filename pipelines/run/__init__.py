"""Run a job around the pipeline: preparation, Ray session, commits, crashes, early stops and progress."""
