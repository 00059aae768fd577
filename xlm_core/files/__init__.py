"""files."""

from xlm_core.files.json_files import read_json_object
from xlm_core.files.regular_files import check_regular

__all__ = [
    "check_regular",
    "read_json_object",
]
