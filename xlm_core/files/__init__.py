"""Read JSON files and regular files, and check the types of their fields."""

from xlm_core.files.json_files import read_json_object
from xlm_core.files.regular_files import check_regular_file

__all__ = [
    "check_regular_file",
    "read_json_object",
]
