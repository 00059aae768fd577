"""Tokenizer files: malformed files are rejected in one line that names the file; saved files load again."""

from pathlib import Path

import pytest

from xlm_core import TokenizerError, XLMTokenizer


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.json", None, "has no vocab.json; is this a checkpoint"),
        ("vocab.json", "{", "not valid JSON"),
        ("vocab.json", "[1]", "expected a JSON object, got list"),
        ("vocab.json", '{"a": "b"}', "whole-number id"),
        ("vocab.json", '{"a": 1}', "vocab.json does not have"),
        ("vocab.json", '{"a": true}', "whole-number id"),
        ("vocab.json", '{"a": 1099511627776}', "whole-number id"),
        ("tokenizer_config.json", '{"lang2id": "en"}', "lang2id: got 'en'"),
        ("tokenizer_config.json", '{"lang2id": {"en": "0"}}', "lang2id: got"),
        ("tokenizer_config.json", '{"mask_token": {"x": 1}}', "a special token is"),
        ("tokenizer_config.json", '{"model_max_length": "512"}', "model_max_length: got '512'"),
        ("tokenizer_config.json", '{"padding_side": "top"}', "padding_side: got 'top', expected right or left"),
        ("tokenizer_config.json", '{"truncation_side": "left"}', "truncation_side: got 'left'"),
        (
            "tokenizer_config.json",
            '{"added_tokens_decoder": {"9999": {"content": "covid19"}}}',
            "added tokens.*covid19",
        ),
        ("merges.txt", None, "no merge table here"),
        ("merges.txt", "", "holds no merges"),
        ("merges.txt", b"\xff\xfe", "not UTF-8"),
        ("merges.txt", "\ufeffa b 1\n", "begins with a byte order mark"),
        ("tokenizer_config.json", "x", "not valid JSON"),
        *(
            (name, content, message)
            for name in ("vocab.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
            for content, message in (
                ('{"a": ' + "[" * 100_000, "not valid JSON"),
                ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
                (Path, "cannot be read: Is a directory"),
            )
        ),
        ("merges.txt", Path, "cannot be read: Is a directory"),
        *(
            ("tokenizer_config.json", f'{{"model_max_length": {length}}}', "model_max_length: got .*, expected a whole")
            for length in ("-5", "0", "2.5", "true", "Infinity", "NaN", "1e400")
        ),
        ("tokenizer_config.json", '{"additional_special_tokens": 5}', "additional_special_tokens: got 5, expected a"),
        ("tokenizer_config.json", '{"additional_special_tokens": "abc"}', "additional_special_tokens: got 'abc'"),
        ("tokenizer_config.json", '{"do_lowercase_and_remove_accent": "false"}', "got 'false', expected true or false"),
        ("tokenizer_config.json", '{"do_lowercase_and_remove_accent": null}', "got None, expected true or false"),
        ("tokenizer_config.json", '{"added_tokens_decoder": ["x"]}', "added_tokens_decoder: got ..x.., expected an"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {"content": "q"}}}', "added tokens.*'q'"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {}}}', "a special token is {}"),
        ("tokenizer_config.json", '{"lang2id": {"en": -1}}', "lang2id: got .* from 0"),
        ("tokenizer_config.json", '{"lang2id": {"en": 2147483648}}', "lang2id: got .* from 0"),
        ("tokenizer_config.json", '{"lang2id": "' + "x" * 10**6 + '"}', "lang2id: got"),
    ],
)
def test_malformed_files_are_rejected_and_named(checkpoint, tmp_path, name, content, message):
    for file in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (tmp_path / file).write_bytes((checkpoint / file).read_bytes())
    if content is None or content is Path:
        (tmp_path / name).unlink(missing_ok=True)
    if content is Path:
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TokenizerError, match=message) as caught:
        XLMTokenizer.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value) or name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_symlink_loops_and_files_in_place_of_directories_are_named(checkpoint, tmp_path):
    (tmp_path / "vocab.json").symlink_to("vocab.json")
    with pytest.raises(TokenizerError, match=r"vocab.json: cannot be read: Too many levels of symbolic links"):
        XLMTokenizer.from_pretrained(tmp_path)
    with pytest.raises(TokenizerError, match="cannot be read: Not a directory"):
        XLMTokenizer.from_pretrained(checkpoint / "vocab.json")


def test_half_a_surrogate_pair_survives_saving(checkpoint, tmp_path):
    tokenizer = XLMTokenizer.from_pretrained(checkpoint)
    vocab = tokenizer.vocab | {"\ud800": len(tokenizer.vocab), "é</w>\\ud801": len(tokenizer.vocab) + 1}
    XLMTokenizer(vocab, tokenizer.merges).save_pretrained(tmp_path)
    assert XLMTokenizer.from_pretrained(tmp_path).vocab == vocab
