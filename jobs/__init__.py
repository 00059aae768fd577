"""What a person touches: job files and the command line."""
