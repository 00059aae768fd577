"""The ledger: the records of all committed shards. A shard without a record is not done."""

from pipelines.output.ledger.files import COMMITTED
from pipelines.output.ledger.ledger import Ledger, retry_if_replaced
from pipelines.output.ledger.records import Records

__all__ = [
    "COMMITTED",
    "Ledger",
    "Records",
    "retry_if_replaced",
]
