"""The ledger: the records of all committed shards. A shard without a record is not done."""

from pipelines.output.ledger.files import COMMITTED, ReplacedError, to_table
from pipelines.output.ledger.ledger import Ledger, retry_if_replaced
from pipelines.output.ledger.records import Records
from pipelines.output.ledger.totals import Totals, add_up

__all__ = [
    "COMMITTED",
    "Ledger",
    "Records",
    "ReplacedError",
    "Totals",
    "add_up",
    "retry_if_replaced",
    "to_table",
]
