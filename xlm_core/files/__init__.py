"""Read JSON and regular files safely, and share tensors through files."""

from typing import TYPE_CHECKING

from xlm_core.files.json_files import read_json_object
from xlm_core.files.regular_files import check_regular_file
from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from xlm_core.files.mapped_tensors import map_tensors

__all__ = ["check_regular_file", "map_tensors", "read_json_object"]

__getattr__ = lazy_names(__name__, {"map_tensors": "mapped_tensors"})  # needs torch
