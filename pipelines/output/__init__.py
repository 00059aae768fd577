"""The output directory: parts, ledger, lock, and how a run resumes."""
