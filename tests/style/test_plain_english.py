from pathlib import Path

from tests.style.plain_english import find_phrases


def messages(path: str, text: str) -> list[str]:
    return [str(finding) for finding in find_phrases(Path(path), text)]


def test_phrase_is_found_in_comments_docstrings_and_messages() -> None:
    code = '''\
"""Gives the sum."""
total = 1  # the run goes on
raise ValueError(f"{total}: say so")
'''
    assert messages("pipelines/sums.py", code) == [
        'pipelines/sums.py:1: "gives"; write "Return"',
        'pipelines/sums.py:2: "goes on"; write "continue, resume"',
        'pipelines/sums.py:3: "say so"; write "name the setting, the field or the message"',
    ]


def test_phrase_is_found_across_two_lines() -> None:
    comment = "if True:\n    # each file goes\n    # on\n    pass\n"
    message = 'print(\n    "each file goes "\n    f"on"\n)\n'
    assert messages("jobs/a.py", comment) == ['jobs/a.py:2: "goes on"; write "continue, resume"']
    assert messages("jobs/a.py", message) == ['jobs/a.py:2: "goes on"; write "continue, resume"']
    assert messages("README.md", "The run goes\non.") == ['README.md:1: "goes on"; write "continue, resume"']


def test_names_and_test_data_are_not_prose() -> None:
    assert messages("jobs/a.py", "beside = told + hence\n") == []
    assert messages("tests/test_a.py", 'text = "they told me"\n') == []
    assert messages("tests/test_a.py", "# they told me\n") == [
        'tests/test_a.py:1: "told"; write "given, passed, notified"'
    ]


def test_longer_words_do_not_match() -> None:
    assert messages("README.md", "besides, a toldo, de-told") == []
