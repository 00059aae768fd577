"""`xlm tokenize` shows the tokens of texts, aligned in a terminal, as a job would feed them to the model."""

import io
import json
import subprocess
import sys

import pytest
from rich.cells import cell_len

from jobs.cli import main
from xlm_core import XLMTokenizer

TEXTS = {
    "th": "สวัสดีตอนเช้า ฉันไปตลาด",
    "zh": "早上好，世界！𠮷野家",
    "hi": "नमस्ते दुनिया",
    "ar": "مرحبا بالعالم 123",
    "en": "A café with a combining accent, cafe\u0301, and an emoji 👩‍👩‍👧.",
    "vi": "Tiếng Việt có dấu",
}


def run(capsys, *arguments: object) -> str:
    assert main(["tokenize", *map(str, arguments)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def cells_from(line: str, cell: int) -> str:
    """Return the part of a line from a cell of the terminal on."""
    for i in range(len(line) + 1):
        if cell_len(line[:i]) == cell and cell_len(line[: i + 1]) != cell:
            return line[i:]
    return ""


@pytest.mark.parametrize("width", [40, 200])
@pytest.mark.parametrize("lang", TEXTS)
def test_characters_pieces_ids_and_words_are_aligned(checkpoint, capsys, monkeypatch, lang, width):
    monkeypatch.setenv("COLUMNS", str(width))
    tokens = json.loads(run(capsys, checkpoint, "--lang", lang, TEXTS[lang], "--json"))["tokens"]
    lines = run(capsys, checkpoint, "--lang", lang, TEXTS[lang]).splitlines()
    assert max(map(cell_len, lines[1:-1])) <= width
    for i, line in enumerate(lines):
        if not line.startswith("id "):
            continue
        text, piece, ids, word = lines[i - 2 : i + 2]
        assert [text[:4], piece[:5], word[:4]] == ["text", "piece", "word"]
        starts = [len(ids) - len(ids[j:]) for j in range(7, len(ids)) if ids[j - 1] == " " and ids[j] != " "]
        for start in starts:  # ids are ASCII: a character is a cell
            token = tokens.pop(0)
            assert ids[start:].split()[0] == str(token["id"])
            assert cells_from(piece, start).removeprefix("◌").startswith(token["piece"])
            if token["kind"] != "special":
                assert cells_from(text, start).removeprefix("◌").startswith(token["text"])
                assert cells_from(word, start).split()[0] == str(token["word"])
    assert tokens == []


@pytest.mark.parametrize("lang", TEXTS)
def test_tokens_are_those_of_a_job(checkpoint, capsys, lang):
    found = json.loads(run(capsys, checkpoint, "--lang", lang, TEXTS[lang], "--json"))
    encoding = XLMTokenizer.from_pretrained(checkpoint).encode_batch([TEXTS[lang]], [lang])
    assert [token["id"] for token in found["tokens"]] == encoding.input_ids.tolist()
    assert (found["num_tokens"], found["num_unknown"]) == (int(encoding.num_tokens[0]), int(encoding.num_unknown[0]))
    assert found["lang"] == lang
    for token in found["tokens"]:
        assert token["kind"] == "special" or TEXTS[lang][token["start"] : token["end"]] == token["text"]


def test_text_is_cut_off_as_in_a_job(checkpoint, capsys):
    text = "Good morning, and good night."
    found = json.loads(run(capsys, checkpoint, "--lang", "en", text, "--max-length", 8, "--json"))
    encoding = XLMTokenizer.from_pretrained(checkpoint).encode_batch([text], ["en"], max_length=8)
    kept = [token["id"] for token in found["tokens"] if not token["truncated"]]
    assert (kept, found["num_truncated"]) == (encoding.input_ids.tolist(), int(encoding.num_truncated[0]))
    printed = run(capsys, checkpoint, "--lang", "en", text, "--max-length", 8)
    assert "cut off at 8 tokens (--max-length):" in printed
    assert (
        printed.splitlines()[-1]
        == f"{found['num_tokens']} tokens, 2 special, 0 unknown, {found['num_truncated']} truncated"
    )


def test_lines_of_standard_input_are_texts(checkpoint):
    command = [sys.executable, "-m", "jobs.cli", "tokenize", str(checkpoint), "--lang", "deu_Latn"]
    lines = b"Guten Morgen.\r\n\nDrei"
    done = subprocess.run([*command, "--json"], input=lines, capture_output=True, check=True)
    found = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [one["lang"] for one in found] == ["de"] * 3
    assert [len(one["tokens"]) > 2 for one in found] == [True, False, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--lang", "tlh", "x"],
            "xlm: --lang: language tlh is not in the checkpoint's lang2id; its languages are ar, bg, de",
        ),
        (
            ["--lang", "ja", "x"],
            "xlm: Japanese text needs a KyTea model, and none is configured; set --kytea-model to a",
        ),
        (["x"], "xlm: missing option '--lang'"),
    ],
)
def test_refused_arguments_have_one_message(checkpoint, capsys, arguments, message):
    assert main(["tokenize", str(checkpoint), *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(message)
    assert len(printed.err.splitlines()) == 1


def test_input_that_is_not_utf_8(checkpoint, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Guten Morgen.\n\xe9t\xe9\n")))
    assert main(["tokenize", str(checkpoint), "--lang", "de"]) == 2
    expected = "xlm: standard input, line 2: byte 0 is not UTF-8; convert the text, for example with iconv -f latin1"
    assert capsys.readouterr().err == f"{expected} -t utf-8\n"


def test_characters_that_control_a_terminal_are_not_printed(checkpoint, capsys):
    assert "\x1b" not in run(capsys, checkpoint, "--lang", "en", "red \x1b[31m text")


def test_tokenizing_does_not_import_torch_or_ray(checkpoint):
    code = f"from jobs.cli import main; main(['tokenize', {str(checkpoint)!r}, '--lang', 'en', 'x']); import sys; "
    code += "assert not {'torch', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
