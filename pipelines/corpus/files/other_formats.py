"""Files that are not Parquet: which format they have, and the command that converts them."""

from __future__ import annotations

import re
import shlex

from pipelines.formatting import format_count

_COMPRESSED = r"(?:\.(?:gz|zst))?"
# Without `all_varchar`, DuckDB would read the text 007 as the number 7.
_DUCKDB_FORMATS = {
    rf"(?i).*(\.[ct]sv{_COMPRESSED})": ("CSV", "read_csv('{}', all_varchar = true)"),
    rf"(?i).*(\.(?:jsonl?|ndjson){_COMPRESSED})": ("JSON", "read_json('{}')"),
}
_ARROW_FORMATS = {
    r"(?i).*\.(?:arrow|feather|ipc)": ("Arrow", "pyarrow.feather.read_table({!r})"),
    r"(?i).*\.orc": ("ORC", "pyarrow.orc.read_table({!r})"),
}
_CONVERTED = "corpus.parquet"


def describe_not_parquet(url: str, size_bytes: int, *, is_only_file: bool) -> str:
    """Return the error message for a file that is not Parquet.

    Files of one format in one directory get the same message, whose command converts all of them.

    Args:
        url: the file.
        size_bytes: its size.
        is_only_file: whether the input has no other files.
    """
    for name, (kind, reader) in _DUCKDB_FORMATS.items():
        if found := re.fullmatch(name, url, re.DOTALL):
            what = url if is_only_file else f"{url.rpartition('/')[0]}/*{found[1]}"
            source = reader.format(what.replace("'", "''"))
            command = _quote(f"COPY (FROM {source}) TO '{_CONVERTED}'")
            return _convert(what, kind, f"duckdb -c {command}", "DuckDB's command line (pip install duckdb-cli)")
    for name, (kind, reader) in _ARROW_FORMATS.items():
        if re.fullmatch(name, url, re.DOTALL):
            module, table = reader.partition(".read")[0], reader.format(url)
            code = f"import {module}, pyarrow.parquet as p; p.write_table({table}, '{_CONVERTED}')"
            return _convert(url, kind, f"python -c {_quote(code)}", "the following command")
    hint = "name the data files, such as DIR/*.parquet"
    return f"{url}: not a Parquet file ({format_count(size_bytes, 'byte')}); {hint}"


def _convert(what: str, kind: str, command: str, tool: str) -> str:
    return (
        f"{what}: {kind}, but only Parquet is read; name the Parquet files, or convert with {tool} and set input.path "
        f"to {_CONVERTED}: {command}"
    )


def _quote(text: str) -> str:
    return shlex.quote(text) if re.search(r'["$`\\!]', text) else f'"{text}"'
