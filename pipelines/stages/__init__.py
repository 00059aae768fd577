"""The stages of the pipeline: read, identify (in jobs that detect languages), tokenize, infer and write."""

from typing import TYPE_CHECKING

from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from pipelines.stages.checks import LangChecks, RowChecks
    from pipelines.stages.identify import Identify
    from pipelines.stages.infer import Infer
    from pipelines.stages.pools import READ_CPUS, WRITE_CPUS, Node, Pools, allocate_pools
    from pipelines.stages.read import Reader
    from pipelines.stages.settings import (
        IdentifyStageSettings,
        InferStageSettings,
        StageSettings,
        TokenizeStageSettings,
    )
    from pipelines.stages.stop_signal import (
        count_rows_in_flight,
        in_flight_key,
        run_prefix,
        stop_key,
        stop_requested,
    )
    from pipelines.stages.tokenize import Tokenize
    from pipelines.stages.write import Writer, discard

__all__ = [
    "READ_CPUS",
    "WRITE_CPUS",
    "Identify",
    "IdentifyStageSettings",
    "Infer",
    "InferStageSettings",
    "LangChecks",
    "Node",
    "Pools",
    "Reader",
    "RowChecks",
    "StageSettings",
    "Tokenize",
    "TokenizeStageSettings",
    "Writer",
    "allocate_pools",
    "count_rows_in_flight",
    "discard",
    "in_flight_key",
    "run_prefix",
    "stop_key",
    "stop_requested",
]

_MODULES = {  # the module of each name
    "Identify": "identify",
    "IdentifyStageSettings": "settings",
    "Infer": "infer",
    "InferStageSettings": "settings",
    "LangChecks": "checks",
    "Node": "pools",
    "Pools": "pools",
    "READ_CPUS": "pools",
    "Reader": "read",
    "RowChecks": "checks",
    "StageSettings": "settings",
    "Tokenize": "tokenize",
    "TokenizeStageSettings": "settings",
    "WRITE_CPUS": "pools",
    "Writer": "write",
    "allocate_pools": "pools",
    "count_rows_in_flight": "stop_signal",
    "discard": "write",
    "in_flight_key": "stop_signal",
    "run_prefix": "stop_signal",
    "stop_key": "stop_signal",
    "stop_requested": "stop_signal",
}

__getattr__ = lazy_names(__name__, _MODULES)
