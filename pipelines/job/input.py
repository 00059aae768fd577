"""The input of a job as its settings: where the corpus lies, and which of its columns are what."""

from typing import Annotated

from pydantic import AfterValidator, Field, Tag, ValidationInfo, field_validator

from pipelines.filter.parse import parse_filter
from pipelines.settings import NonEmptyStr, Settings, Violation, one_of, violations
from pipelines.storage.options import Url
from xlm_core.errors import FatalError

RESERVED_PREFIX = "_xlm_"  # columns that stages add for each other; no input column that is read may begin so
FILE_COLUMNS = ("file", "row")  # what identifies a row of the output when the job names no id column


def _check_column(name: str) -> str:
    if name.startswith(RESERVED_PREFIX):
        reason = f"since columns that begin with {RESERVED_PREFIX} are the job's own"
        raise ValueError(f"{name} is not free, {reason}; rename it")
    return name


def _check_columns(columns: list[str]) -> list[str]:
    if len(columns) < 2:
        raise ValueError("a list names the columns of a pair, or of choices; write a single column without brackets")
    return columns


def _check_filter(text: str) -> str:
    try:
        parse_filter(text)
    except FatalError as error:
        raise ValueError(str(error).removeprefix("filter: ")) from None
    return text


def _text_or_list(value: object) -> str | None:
    return "text" if isinstance(value, str) else "list" if isinstance(value, list) else None


def _column_or_fixed(value: object) -> str | None:
    return "column" if isinstance(value, str) else "one for all" if isinstance(value, dict | FixedLang) else None


Column = Annotated[
    NonEmptyStr, AfterValidator(_check_column), Field(json_schema_extra={"not": {"pattern": f"^{RESERVED_PREFIX}"}})
]
Columns = Annotated[list[Column], AfterValidator(_check_columns), Field(json_schema_extra={"minItems": 2})]


class FixedLang(Settings):
    """One language for every row."""

    fixed: NonEmptyStr = Field(description="The language code of every row, such as de.")


class InputSettings(Settings):
    """The corpus, and which of its columns are what."""

    path: Annotated[
        Annotated[Url, Tag("text")] | Annotated[list[Url], Field(min_length=1), Tag("list")],
        one_of("a path or a list of paths", _text_or_list, text=True),
    ] = Field(description="Parquet file, directory or glob, or a list of them; local, or the URL of an object store.")
    id: Column | None = Field(
        default=None, description="Column that identifies a row; without it, the output has file and row."
    )
    text: Annotated[
        Annotated[Column, Tag("text")] | Annotated[Columns, Tag("list")],
        one_of("a column or a list of columns", _text_or_list, text=True),
    ] = Field(
        description="Column with the text, or the columns of a pair, such as [question, context], or of choices, such "
        "as [premise, choice1, choice2]. A column may hold lists of words that are parted already."
    )
    lang: Annotated[
        Annotated[Column, Tag("column")] | Annotated[FixedLang, Tag("one for all")],
        one_of("a column or {fixed: CODE}", _column_or_fixed, text=True),
    ] = Field(description="Column with each row's language code, or {fixed: CODE} for one language throughout.")
    filter: Annotated[NonEmptyStr, AfterValidator(_check_filter)] | None = Field(
        default=None, description='Rows to compute, such as year >= 2024 and lang in ["de", "fr"]; others are left out.'
    )
    keep: list[Column] = Field(
        default=[],
        description="Columns passed through to the output, types unchanged.",
        json_schema_extra={"uniqueItems": True},
    )

    @field_validator("keep")
    @classmethod
    def _check_keep(cls, keep: list[str], info: ValidationInfo) -> list[str]:
        row_id = info.data.get("id")
        found: list[Violation] = []
        for i, column in enumerate(keep):
            if column in keep[:i]:
                found.append(((i,), f"{column} is kept twice; remove one"))
            elif column == row_id:
                found.append(((i,), f"{column} is input.id, which the output has anyway; remove it from keep"))
            elif row_id is None and column in FILE_COLUMNS:
                found.append(((i,), f"without input.id the output has a column {column} of its own; set input.id"))
        if found:
            raise violations(*found)
        return keep

    @property
    def id_columns(self) -> list[str]:
        """Columns of the output which identify a row."""
        return list(FILE_COLUMNS) if self.id is None else [self.id]

    @property
    def text_columns(self) -> list[str]:
        """One column, the two of a pair, or a premise and its choices."""
        return [self.text] if isinstance(self.text, str) else self.text

    @property
    def lang_column(self) -> str | None:
        """The column with each row's language, if it is not the same for all."""
        return self.lang if isinstance(self.lang, str) else None
