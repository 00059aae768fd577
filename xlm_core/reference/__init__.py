"""The interface of the reference, transformers' XLM classes: padded tensors, its arguments and outputs."""
