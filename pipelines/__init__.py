"""Ray batch pipelines for XLM models: stages, plan, storage, ledger and report. Start reading at `flow.py`."""

import os

# Ray reads this variable once, when it is imported. Without it, a Ray Data thread that outlives its session would
# silently start Ray again.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
