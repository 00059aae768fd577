"""What the stages pass to each other: shards, their rows and columns, and rejected rows."""
