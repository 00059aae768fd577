"""Check the form of error messages."""


def check_message(error: Exception, expected: str = "", max_lines: int = 50) -> None:
    """Check that a message has few lines, none of them empty or long, and contains the expected text."""
    lines = str(error).split("\n")
    assert all(line.strip() for line in lines)
    assert len(lines) <= max_lines
    assert expected in str(error)
    assert max(map(len, lines)) < 2_000
