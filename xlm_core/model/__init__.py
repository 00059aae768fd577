"""The model: the trunk over packed batches, and its attention."""
