"""A small job to try everything with, made from what is in this package alone."""
