"""The four stages of the pipeline: read, tokenize, infer and write."""
