"""The `input` section of a job: where the corpus is stored, and what its columns mean."""

from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator, Field, Tag, ValidationInfo, field_validator

from pipelines.errors import FatalError
from pipelines.filter import parse_filter
from pipelines.formatting import closest_name
from pipelines.rows import DETECTED_COLUMNS, DETECTED_LANG
from pipelines.settings import NonEmptyStr, Settings, Violation, one_of, violations
from pipelines.storage import Url

RESERVED_PREFIX = "_xlm_"  # of columns that stages add; input columns that a job names must not start with it
FILE_COLUMNS = ("file", "row")  # identify a row of the output if the job names no id column

# What `lang: detect` stands for.
DEFAULT_DETECTION = {"detect": "builtin://small", "head": "builtin://small/heads/language"}


def differ_in_case(column: str) -> str:
    """Describe the fault of two columns, and how to rename the one that is copied from the input."""
    return (
        f"differ only in case, which most readers ignore; rename one, as in keep: {{source_{column.lower()}: {column}}}"
    )


def _check_column_name(name: str) -> str:
    if name.startswith(RESERVED_PREFIX):
        raise ValueError(f"got {name}, but names that start with {RESERVED_PREFIX} are reserved; rename the column")
    return name


def _check_column_list(columns: list[str]) -> list[str]:
    if len(columns) < 2:
        raise ValueError("a list is for the columns of a pair or of choices; write a single column without brackets")
    return columns


def _check_filter(text: str) -> str:
    try:
        parse_filter(text)
    except FatalError as error:
        raise ValueError(str(error).removeprefix("filter: ")) from None
    return text


def _text_or_list(value: object) -> str | None:
    return "text" if isinstance(value, str) else "list" if isinstance(value, list) else None


def _list_or_mapping(value: object) -> str | None:
    return "list" if isinstance(value, list) else "mapping" if isinstance(value, dict) else None


ColumnName = Annotated[
    NonEmptyStr,
    AfterValidator(_check_column_name),
    Field(json_schema_extra={"not": {"pattern": f"^{RESERVED_PREFIX}"}}),
]
ColumnNames = Annotated[list[ColumnName], AfterValidator(_check_column_list), Field(json_schema_extra={"minItems": 2})]


class FixedLang(Settings):
    """One language for all rows."""

    fixed: NonEmptyStr = Field(description="The language code of all rows, such as de.")


class DetectedLang(Settings):
    """The language of each row is found by a checkpoint that identifies languages."""

    detect: Url = Field(description="Directory or URL of a checkpoint that identifies languages.")
    head: Url | None = Field(
        default=None,
        description="Directory or URL of its text classification head, whose labels are language codes. By default the "
        "checkpoint contains it.",
    )
    threshold: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5,
        description="The lowest score of a language. Rows whose best language has a lower score are rows of an unknown "
        "language; see policy.unknown_lang.",
    )


class LangSettings(FixedLang, DetectedLang):
    """All settings that a mapping at `lang` may have, for suggestions."""


def _expand_detect(value: object) -> object:
    if isinstance(value, dict) and {"fixed", "detect"} <= cast("dict[Any, Any]", value).keys():
        raise ValueError("got fixed and detect, expected one of them")
    return DEFAULT_DETECTION if value == "detect" else value


def _kind_of_lang(value: object) -> str | None:
    if isinstance(value, dict):
        names = [closest_name(str(name), LangSettings.model_fields) for name in cast("dict[Any, Any]", value)]
        return "detected" if any(name in DetectedLang.model_fields for name in names) else "fixed"
    kinds = {"column": str, "fixed": FixedLang, "detected": DetectedLang}
    return next((kind for kind, cls in kinds.items() if isinstance(value, cls)), None)


class InputSettings(Settings):
    """The corpus, and the meaning of its columns."""

    path: Annotated[
        Annotated[Url, Tag("text")] | Annotated[list[Url], Field(min_length=1), Tag("list")],
        one_of("a path or a list of paths", _text_or_list, text=True),
    ] = Field(
        description="Parquet file, directory or glob, Delta or Iceberg table, or a list of them; local paths or object "
        "store URLs."
    )
    version: int | None = Field(
        default=None,
        ge=0,
        description="Version of the Delta table, or snapshot id of the Iceberg table, to read. By default the newest.",
    )
    id: ColumnName | None = Field(
        default=None,
        description="Column that identifies a row. By default the output has the columns file and row instead.",
    )
    text: Annotated[
        Annotated[ColumnName, Tag("text")] | Annotated[ColumnNames, Tag("list")],
        one_of("a column or a list of columns", _text_or_list, text=True),
    ] = Field(
        description="Column with the text, or a list of columns: [question, context] for pairs, or [premise, choice1, "
        "choice2] for choices. A column may contain lists of words instead of strings."
    )
    lang: Annotated[
        Annotated[ColumnName, Tag("column")]
        | Annotated[FixedLang, Tag("fixed")]
        | Annotated[DetectedLang, Tag("detected")],
        one_of("a column, detect, {fixed: CODE} or {detect: CHECKPOINT}", _kind_of_lang, text=True),
        BeforeValidator(_expand_detect),
    ] = Field(
        description="Column with the language code of each row, {fixed: CODE} for one language, or detect to find the "
        "language of each row, with the checkpoint in this package or another one: {detect: CHECKPOINT}."
    )
    filter: Annotated[NonEmptyStr, AfterValidator(_check_filter)] | None = Field(
        default=None,
        description='Condition that rows must meet, in the syntax of Python, such as year >= 2024 and lang in ["de", '
        '"fr"]. Other rows are skipped.',
    )
    keep: Annotated[
        Annotated[list[ColumnName], Field(json_schema_extra={"uniqueItems": True}), Tag("list")]
        | Annotated[dict[ColumnName, ColumnName], Tag("mapping")],
        one_of("a list of columns or a mapping {new_name: column}", _list_or_mapping),
    ] = Field(
        default=[],
        description="Columns that are copied to the output: a list, or a mapping from their names in the output to "
        "columns of the input.",
    )

    @field_validator("keep")
    @classmethod
    def _check_keep(cls, keep: list[str] | dict[str, str], info: ValidationInfo) -> list[str] | dict[str, str]:
        row_id = info.data.get("id")
        earlier: dict[str, str] = {}
        found: list[Violation] = []
        for i, name in enumerate(keep):
            path = (i,) if isinstance(keep, list) else (name,)
            if row_id is None and name.lower() in FILE_COLUMNS:
                found.append((path, f"without input.id, the output has its own column {name.lower()}; set input.id"))
            elif name == row_id:
                found.append((path, f"{name} is input.id, which is always in the output; remove it from keep"))
            elif row_id is not None and name.lower() == row_id.lower():
                found.append((path, f"{name} and input.id {row_id} {differ_in_case(name)}"))
            elif (other := earlier.setdefault(name.lower(), name)) != name:
                found.append((path, f"{name} and {other} {differ_in_case(name)}"))
            elif name in list(keep)[:i]:
                found.append((path, f"{name} is listed twice; remove one"))
        if found:
            raise violations(*found)
        return keep

    @property
    def kept(self) -> dict[str, str]:
        """The columns that are copied to the output: the name in the output, and the column of the input."""
        return self.keep if isinstance(self.keep, dict) else {name: name for name in self.keep}

    @property
    def kept_columns(self) -> list[str]:
        """The columns of the input that are copied to the output, each once."""
        return list(dict.fromkeys(self.kept.values()))

    def names_in_output(self, column: str) -> list[str]:
        """Return the names of a column of the input in the output: as id or kept column; none if it is not copied."""
        return [column] if column == self.id else [name for name, kept in self.kept.items() if kept == column]

    @property
    def output_lang_column(self) -> str | None:
        """The column of the output with each row's language; None if all rows have the same, or it is not copied."""
        if isinstance(self.lang, DetectedLang):
            return DETECTED_LANG
        return next(iter(self.names_in_output(self.lang_column)), None) if self.lang_column else None

    @property
    def id_columns(self) -> list[str]:
        """The columns of the output that identify a row."""
        return list(FILE_COLUMNS) if self.id is None else [self.id]

    @property
    def text_columns(self) -> list[str]:
        """The columns with text: one, two of a pair, or a premise and its choices."""
        return [self.text] if isinstance(self.text, str) else self.text

    @property
    def lang_column(self) -> str | None:
        """The column of the input with each row's language; None if all rows have the same, or it is detected."""
        return self.lang if isinstance(self.lang, str) else None

    @property
    def detected_columns(self) -> list[str]:
        """The columns of the output with detected languages and their scores; none if they are not detected."""
        return [*DETECTED_COLUMNS] if isinstance(self.lang, DetectedLang) else []
