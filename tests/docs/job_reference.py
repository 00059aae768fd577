"""Write the references of job files into the documents of `jobs`, from the JSON Schemas: `make reference`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.job_file import RUN, TRAIN, VOCABULARY, JobKind, json_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

_JOBS = Path(__file__).parents[2] / "jobs"
DOCUMENTS: dict[Path, list[tuple[str, JobKind]]] = {
    _JOBS / "README.md": [("", RUN)],
    _JOBS / "TRAINING.md": [("", TRAIN), ("## Settings of a vocabulary", VOCABULARY)],
}
BEGIN = "<!-- The rest of this section is written by `make reference`. -->\n"
END = "<!-- end of the reference -->\n"

Schema = dict[str, Any]

_HEADER = "| setting | values | default | description |\n|---|---|---|---|\n"


def job_reference(kind: JobKind) -> str:
    """Return tables of all settings, in Markdown: the top level, then each section, then each task or objective."""
    schema = json_schema(kind)
    definitions: Schema = schema["$defs"]
    blocks = [_table(schema, definitions)]
    for name, setting in schema["properties"].items():
        if name in ("tasks", "objectives"):
            alone = ["A task without settings is its name alone: `- lm-scoring`."] if name == "tasks" else []
            blocks += [f"### `{name}`", *alone]
            blocks += [_task(definitions[_ref_name(task)], definitions) for task in setting["items"]["oneOf"]]
        elif section := _ref_name(setting) or _ref_name(setting.get("items", {})):
            definition = definitions[section]
            blocks += [f"### `{name}`", definition["description"], _table(definition, definitions)]
            blocks += _nested(name, definition, definitions)
    return "\n\n".join(blocks) + "\n"


def _nested(section: str, definition: Schema, definitions: Schema) -> Iterator[str]:
    """Yield a table for each mapping with several settings that is the value of a setting."""
    for name, setting in definition["properties"].items():
        for branch in map(_ref_name, setting.get("anyOf", setting.get("oneOf", ()))):
            if branch and len(definitions[branch]["properties"]) > 1:
                nested = definitions[branch]
                first = next(iter(nested["properties"]))
                yield f"#### `{section}.{name}: {{{first}: …}}`"
                yield nested["description"]
                yield _table(nested, definitions)


def _task(definition: Schema, definitions: Schema) -> str:
    _, mapping = definition["oneOf"]
    settings = next(iter(mapping["properties"].values()))["anyOf"][0]
    return f"#### `{definition['title']}`\n\n{definition['description']}\n\n{_table(settings, definitions)}"


def _table(schema: Schema, definitions: Schema) -> str:
    required = schema.get("required", [])
    rows: list[str] = []
    for name, setting in schema["properties"].items():
        values = f"[section](#{name})" if _is_section(setting) else _values(setting, definitions)
        default = "**required**" if name in required else _default(setting)
        # Pydantic leaves out the description of a setting if it is that of its section.
        description = setting.get("description") or definitions[_ref_name(setting)]["description"]
        cells = (f"`{name}`", values, default, description)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return _HEADER + "\n".join(rows)


def _is_section(setting: Schema) -> bool:
    items = setting.get("items", {})
    return "$ref" in setting or "$ref" in items or any("$ref" in task for task in items.get("oneOf", ()))


def _default(setting: Schema) -> str:
    default = setting.get("default")
    # Sections have their own defaults, and an empty list or text is the absence of a setting.
    return "" if default in (None, "", []) or isinstance(default, dict) else f"`{json.dumps(default).strip(chr(34))}`"


def _values(setting: Schema, definitions: Schema) -> str:
    """Describe the values that a setting may have."""
    match setting:
        case {"anyOf": [*branches]} | {"oneOf": [*branches]}:
            return " or ".join(_values(branch, definitions) for branch in branches if branch.get("type") != "null")
        case {"$ref": _}:  # the settings of a language
            return f"`{{{next(iter(definitions[_ref_name(setting)]['properties']))}: …}}`"
        case {"enum": [*values]}:
            return ", ".join(f"`{value}`" for value in values)
        case {"const": value}:
            return f"`{value}`"
        case {"type": "array", "items": items}:
            return "list of " + _values(items, definitions).replace("string", "strings").replace("integer", "integers")
        case {"type": "object"}:
            return "mapping"
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"type": "integer" | "number" as kind}:
            return ("integer" if kind == "integer" else "number") + _bounds(setting)
        case _:
            return "string"


def _bounds(setting: Schema) -> str:
    above, below = setting.get("minimum"), setting.get("maximum")
    if "exclusiveMinimum" in setting:
        return f" above {setting['exclusiveMinimum']:g}" + ("" if below is None else f", up to {below:,}")
    return {
        (True, True): f" from {above} to {below}",
        (True, False): f" ≥ {above}",
        (False, True): f" ≤ {below}",
        (False, False): "",
    }[above is not None, below is not None]


def _ref_name(schema: Schema) -> str:
    return schema.get("$ref", "").removeprefix("#/$defs/")


def insert_reference(document: Path) -> str:
    """Return the text of a document with the current references."""
    text = document.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    parts = [part for heading, kind in DOCUMENTS[document] for part in (heading, job_reference(kind)) if part]
    reference = "\n\n".join(part.rstrip() for part in parts)
    missing = {name for name in re.findall(r"\(#(\w+)\)", reference) if f"### `{name}`" not in reference}
    for name in missing:  # a section that all kinds of jobs have
        reference = reference.replace(f"(#{name})", f"(README.md#{name})")
    return f"{before}{BEGIN}\n{reference}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    for path in DOCUMENTS:
        path.write_text(insert_reference(path), encoding="utf-8")
