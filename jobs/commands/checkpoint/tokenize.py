"""`xlm tokenize`: show the tokens of texts, aligned with their characters."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from rich.cells import cell_len
from rich.text import Text

from pipelines.errors import FatalError
from pipelines.formatting import format_count
from pipelines.results import render_text
from xlm_core.checkpoint import XLMConfig
from xlm_core.errors import shown_lang
from xlm_core.inference import default_max_length

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rich.console import Console

    from xlm_core.tokenizer import PackedTokenizer

_GAP = 2  # columns between tokens
_LINES = ("text", "piece", "id", "word")
_LABEL_WIDTH = max(map(len, _LINES)) + _GAP
_DOTTED_CIRCLE = "◌"  # carries a combining mark that begins a piece
_LEFT_TO_RIGHT = "\u200e"  # no width; keeps a terminal from reordering tokens of right-to-left scripts
_STYLES = {"special": "dim", "unknown": "bold red"}


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a text.

    Attributes:
        piece: as in the vocabulary; `</w>` ends a word.
        id: its id.
        word: the index of its word; None for special tokens.
        start, end: characters of the text, end exclusive; None for special tokens.
        text: the text from `start` to `end`.
        kind: text, special or unknown.
        truncated: whether it is cut off at the maximum length.
    """

    piece: str
    id: int
    word: int | None
    start: int | None
    end: int | None
    text: str
    kind: str
    truncated: bool


def tokenize(
    tokenizer: PackedTokenizer,
    folder: Path,
    texts: Iterable[str],
    lang: str,
    console: Console,
    *,
    max_length: int | None,
    as_json: bool,
) -> None:
    """Print the tokens of texts.

    Args:
        tokenizer: the checkpoint's tokenizer.
        folder: its directory.
        texts: the texts.
        lang: their language.
        console: where to print.
        max_length: where texts are cut off; by default as in a job.
        as_json: print one JSON object per text.

    Raises:
        FatalError: the checkpoint does not have the language, or its segmenter is not installed.
    """
    code = tokenizer.resolve_lang(lang)
    if code is None:
        known = ", ".join(sorted(tokenizer.lang2id))
        problem = f"not in the checkpoint's lang2id; its languages are {known}" if known else "no language code"
        raise FatalError(f"--lang: language {shown_lang(lang)} is {problem}")
    try:
        tokenizer.segmenters.prepare(code)
    except FatalError as error:  # names the settings of a job file
        raise FatalError(str(error).replace("tokenizer.", "--").replace("kytea_model", "kytea-model")) from None
    max_length = max_length or default_max_length(XLMConfig.from_pretrained(folder))
    segmenters = tokenizer.segmenters.describe({code})
    used = {
        "lang": code,
        "lang_id": tokenizer.lang2id.get(code),
        "segmenter": segmenters.get(code, segmenters["moses"]),
        "max_length": max_length,
    }
    if not as_json:
        named = code if lang == code else f"{lang} is {code}"
        lang_id = "" if used["lang_id"] is None else f", language id {used['lang_id']}"
        console.print(f"{named}{lang_id}, words by {used['segmenter']}", highlight=False, markup=False)
    for text in texts:
        tokens = list(find_tokens(tokenizer, text, code, max_length))
        if as_json:
            console.out(_to_json(tokens, used), highlight=False)
            continue
        console.print()
        for line in _render(tokens, max_length, console.width):
            console.print(line, no_wrap=True, crop=False, overflow="ignore")


def read_lines(file: BinaryIO) -> Iterator[str]:
    """Yield the lines of a file, without their ends.

    Raises:
        FatalError: a line is not UTF-8; the message has its number.
    """
    for number, line in enumerate(file, 1):
        try:
            yield line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise FatalError(
                f"standard input, line {number}: byte {error.start} is not UTF-8; convert the text, for example with "
                "iconv -f latin1 -t utf-8"
            ) from None


def find_tokens(tokenizer: PackedTokenizer, text: str, lang: str, max_length: int) -> Iterator[Token]:
    """Yield the tokens of a text as the model gets them, and then those that are cut off at the maximum length."""
    encoding = tokenizer.encode_batch([text], [lang])
    tokens: list[Token] = []
    columns = (encoding.input_ids.tolist(), encoding.word_ids.tolist(), encoding.offsets.tolist())
    for position, (token_id, word, (start, end)) in enumerate(zip(*columns, strict=True)):
        piece, is_special = tokenizer.convert_ids_to_tokens(token_id), word < 0
        is_cut = max_length - 1 <= position < len(encoding.input_ids) - 1
        kind = "special" if is_special else "unknown" if token_id == tokenizer.unk_token_id else "text"
        span = (None, None, None) if is_special else (word, start, end)
        covered = "" if is_special else text[start:end]
        tokens.append(Token(piece, token_id, *span, covered, kind, is_cut))
    yield from (token for token in tokens if not token.truncated)
    yield from (token for token in tokens if token.truncated)


def _to_json(tokens: list[Token], used: dict[str, Any]) -> str:
    return json.dumps(used | {"tokens": [asdict(token) for token in tokens]} | _count(tokens), ensure_ascii=False)


def _count(tokens: list[Token]) -> dict[str, int]:
    return {
        "num_tokens": len(tokens),
        "num_unknown": sum(token.kind == "unknown" for token in tokens),
        "num_truncated": sum(token.truncated for token in tokens),
    }


def _render(tokens: list[Token], max_length: int, width: int) -> Iterator[Text]:
    """Yield lines that show the tokens side by side, as many as fit the width."""
    kept = [token for token in tokens if not token.truncated]
    cut = tokens[len(kept) :]
    yield from _render_blocks(kept, width)
    if cut:
        yield Text(f"cut off at {max_length} tokens (--max-length):", "yellow")
        yield from _render_blocks(cut, width)
    counts = _count(tokens)
    numbers = [format_count(counts["num_tokens"], "token")]
    numbers.append(f"{sum(token.kind == 'special' for token in tokens)} special")
    numbers += [f"{counts[f'num_{name}']} {name}" for name in ("unknown", "truncated")]
    yield Text(", ".join(numbers))


def _render_blocks(tokens: list[Token], width: int) -> Iterator[Text]:
    columns = [_cells(token) for token in tokens]
    widths = [max(map(cell_len, cells)) for cells in columns]
    first = 0
    while first < len(tokens):
        end, used = first + 1, _LABEL_WIDTH + widths[first]
        while end < len(tokens) and used + _GAP + widths[end] <= width:
            used += _GAP + widths[end]
            end += 1
        for i, label in enumerate(_LINES):
            line = Text()
            line.append(label.ljust(_LABEL_WIDTH), "dim")
            for token, cells, column_width in zip(
                tokens[first:end], columns[first:end], widths[first:end], strict=True
            ):
                line.append(cells[i], _STYLES.get(token.kind))
                line.append(" " * (column_width - cell_len(cells[i]) + _GAP))
            line.rstrip()
            yield line
        yield Text()
        first = end


def _cells(token: Token) -> tuple[str, str, str, str]:
    word = "" if token.word is None else str(token.word)
    return _shown(token.text), _shown(token.piece), str(token.id), word


def _shown(text: str) -> str:
    """Return characters for a terminal: a mark at the beginning gets a base, and directions do not mix."""
    shown = render_text(text)
    if shown and unicodedata.category(shown[0]).startswith("M"):
        shown = _DOTTED_CIRCLE + shown
    is_right_to_left = any(unicodedata.bidirectional(character) in ("R", "AL") for character in shown)
    return shown + _LEFT_TO_RIGHT if is_right_to_left else shown
