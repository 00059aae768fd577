"""The address and the headers of `xlm submit`: invalid ones are one line, which never contains a secret."""

import pytest

from jobs.submission.connection import parse_address, parse_headers
from pipelines.errors import FatalError


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://head:8265", "http://head:8265"),
        ("https://ray.example.com/", "https://ray.example.com"),
        ("head:8265", "http://head:8265"),
        ("127.0.0.1:8265", "http://127.0.0.1:8265"),
        ("http://[::1]:8265", "http://[::1]:8265"),
        ("http://head:8265/#/jobs", "http://head:8265"),  # as browsers show it
        ("https://example.com/ray/", "https://example.com/ray"),
    ],
)
def test_addresses(address, url):
    assert parse_address(address) == url


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("", "http://HOST:8265"),
        ("http://", "http://HOST:8265"),
        ("http://:8265", "http://HOST:8265"),
        ("http:///api", "http://HOST:8265"),
        ("http://[1", "http://HOST:8265"),
        ("ray://head:10001", "http://head:8265"),
        ("ftp://head", "http://head:8265"),
        ("http://head:port", "http://HOST:8265"),
        ("http://a b", "http://HOST:8265"),
        ("\x00", "http://HOST:8265"),
    ],
)
def test_invalid_addresses_name_a_valid_one(address, advice):
    with pytest.raises(FatalError) as caught:
        parse_address(address)
    message = str(caught.value)
    assert message.startswith("--address '")
    assert message.endswith(f": not the URL of a dashboard, expected one such as {advice}")
    assert "\n" not in message


@pytest.mark.parametrize("url", ["http://me:geheim@head:8265", "me:ge/heim@head", "ray://:geheim@head", "http://a@b"])
def test_passwords_are_not_part_of_an_address(url):
    with pytest.raises(FatalError, match="; set RAY_JOB_HEADERS to ") as caught:
        parse_address(url)
    assert "heim" not in str(caught.value)


def test_headers():
    assert parse_headers("") == {}
    headers = '{"X-Team": "nlp", "authorization": "Basic bWU6Z2VoZWlt", "X-Empty": ""}'
    assert parse_headers(headers) == {"X-Team": "nlp", "authorization": "Basic bWU6Z2VoZWlt", "X-Empty": ""}


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: geheim",
        '"geheim"',
        '["geheim"]',
        "null",
        '{"geheim": 1}',
        '{"geheim": null}',
        '{"X": "geheim\\n"}',
        '{"X": "gehéim"}',
        '{"X": " geheim"}',
        '{"geheim:": "x"}',
        '{"": "geheim"}',
    ],
)
def test_invalid_headers_are_not_printed(text):
    with pytest.raises(FatalError) as caught:
        parse_headers(text)
    assert str(caught.value).startswith("RAY_JOB_HEADERS: not the headers of requests, expected JSON such as {")
    assert "heim" not in str(caught.value)
