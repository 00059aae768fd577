"""Settings of stores. URLs must not contain secrets: credentials come from the environment."""

import re
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field, ValidationInfo

from pipelines.settings import NonEmptyStr, Settings
from pipelines.storage.local_paths import find_variable

_SECRET_NAMES = re.compile(r"(?i)key|secret|token|sig|pass|credential")


# Other names of a scheme. With them, one file would have several URLs, and be read several times.
_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "abfss"}


def canonical_url(url: str) -> str:
    """Return a URL with the usual name of its scheme: `s3://` for `s3a://` and `s3n://`."""
    scheme, separator, rest = url.partition("://")
    return f"{_SCHEMES.get(scheme, scheme)}{separator}{rest}"


def contains_secret(url: str) -> bool:
    """Whether a URL, or one of chained URLs, contains a password or key: `s3://KEY:SECRET@bucket`, `?sas_token=…`."""
    if "::" in url:
        return any(map(contains_secret, url.split("::")))
    if "://" not in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return "@" in url
    user, at, _ = parts.netloc.rpartition("@")
    # In URLs of other stores, the name of a container may precede the @.
    has_secret_user = bool(at) and (":" in user or parts.scheme in ("s3", "gs", "gcs"))
    return has_secret_user or any(
        _SECRET_NAMES.search(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)
    )


def redact_secret(url: str) -> str:
    """Replace the part of a URL that contains a secret by an ellipsis."""
    if not contains_secret(url):
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://…@{rest.rpartition('@')[2].partition('?')[0]}" if "@" in rest else url.partition("?")[0] + "?…"


def secret_in_url_message(url: str) -> str:
    """Return the error message for a URL that contains a secret."""
    return (
        f"{redact_secret(url)}: contains a password or key; remove it, and put it into the environment or the store's "
        "own configuration"
    )


def _check_url(url: str, info: ValidationInfo) -> str:
    """Check a URL of a job. A function that is given as the context of the validation then replaces it."""
    if contains_secret(url):
        raise ValueError(secret_in_url_message(url))
    if variable := find_variable(url):
        raise ValueError(
            f"contains {variable}, but job files do not expand environment variables; write the path itself, or ~ for "
            "the home directory, or pass the setting on the command line with --set"
        )
    return info.context(url) if info.context else url


Url = Annotated[NonEmptyStr, AfterValidator(_check_url)]


class StoreSettings(Settings):
    """How to access the store of some URLs. Credentials come from the environment."""

    url: Url = Field(description="URLs that begin with this use these settings; s3://corpus/ or, for all, s3://.")
    endpoint: Url | None = Field(
        default=None, description="Address of a compatible store, such as https://minio.example:9000."
    )
    region: NonEmptyStr | None = Field(default=None, description="Region of the bucket. By default it is looked up.")
    anonymous: bool = Field(default=False, description="Read a public bucket without credentials.")
    profile: NonEmptyStr | None = Field(
        default=None, description="Profile in the AWS configuration with the credentials."
    )

    def __hash__(self) -> int:
        return hash(tuple(self))


def find_settings(url: str, stores: Sequence[StoreSettings]) -> StoreSettings | None:
    """Return the settings for a URL: those with the longest `url` that is equal to it or contains it."""
    matching = [store for store in stores if _contains(store.url, url)]
    return max(matching, key=lambda store: len(store.url), default=None)


def _contains(store_url: str, url: str) -> bool:
    store_url, url = canonical_url(store_url), canonical_url(url)
    if store_url.endswith("://"):
        return url.startswith(store_url)
    return f"{url}/".startswith(store_url.rstrip("/") + "/")
