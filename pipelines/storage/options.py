"""Options of a store as settings, and what a URL may not hold: secrets, which belong in the environment."""

import re
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field

from pipelines.settings import NonEmptyStr, Settings

_SECRET_NAMES = re.compile(r"(?i)key|secret|token|sig|pass|credential")


def holds_secret(url: str) -> bool:
    """Whether a URL, or a link of a chain, names a password or key: `s3://KEY:SECRET@bucket`, `?sas_token=…`."""
    if "::" in url:
        return any(map(holds_secret, url.split("::")))
    if "://" not in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return "@" in url
    user, at, _ = parts.netloc.rpartition("@")
    # elsewhere a container's name may stand there
    secret_user = bool(at) and (":" in user or parts.scheme in ("s3", "gs", "gcs"))
    return secret_user or any(_SECRET_NAMES.search(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True))


def without_secret(url: str) -> str:
    """Give what of a URL may be shown."""
    if not holds_secret(url):
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://…@{rest.rpartition('@')[2].partition('?')[0]}" if "@" in rest else url.partition("?")[0] + "?…"


def refusal(url: str) -> str:
    """Tell what to do about a URL that holds a secret."""
    return (
        f"{without_secret(url)}: holds a password or key; take it out, and put it into the environment or the store's "
        "own configuration"
    )


def _check_url(url: str) -> str:
    if holds_secret(url):
        raise ValueError(refusal(url))
    return url


Url = Annotated[NonEmptyStr, AfterValidator(_check_url)]


class StoreSettings(Settings):
    """How the store behind some URLs is reached; its credentials are the environment's, as for all its clients."""

    url: Url = Field(description="URLs that begin so have these options, such as s3://corpus/, or s3:// for all.")
    endpoint: Url | None = Field(
        default=None, description="Address of a store that is compatible, such as https://minio.example:9000."
    )
    region: NonEmptyStr | None = Field(default=None, description="Region of the bucket; without it, it is looked up.")
    anonymous: bool = Field(default=False, description="Read a public bucket without credentials.")
    profile: NonEmptyStr | None = Field(
        default=None, description="Profile of the AWS configuration that has the credentials."
    )

    def __hash__(self) -> int:
        return hash(tuple(self))


def options_of(url: str, stores: Sequence[StoreSettings]) -> StoreSettings | None:
    """Find the options for a URL: those of the longest address that it lies at or below."""
    fitting = [store for store in stores if f"{url}/".startswith(store.url.rstrip("/") + "/") or _is_scheme(store, url)]
    return max(fitting, key=lambda store: len(store.url), default=None)


def _is_scheme(store: StoreSettings, url: str) -> bool:
    return store.url.endswith("://") and url.startswith(store.url)
