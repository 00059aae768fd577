"""The stages of a corpus job, the plan, storage, the ledger and the report. `flow.py` strings them together."""

import os

# Ray reads this once, when it is imported. Without it, a thread of Ray Data that outlives a session which was ended
# early would start another Ray, unseen.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
