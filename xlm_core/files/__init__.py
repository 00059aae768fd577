"""Read files safely: regular files only, with errors of one line."""

from xlm_core.files.json_files import read_json_object
from xlm_core.files.regular_files import check_regular_file

__all__ = [
    "check_regular_file",
    "read_json_object",
]
