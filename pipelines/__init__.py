"""The stages of a corpus job, the plan, storage, the ledger and the report. `flow.py` strings them together."""
