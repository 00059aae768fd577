"""Which file system serves a URL, and with which options. Credentials are the environment's."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import fsspec
import fsspec.core
import pyarrow.fs as pafs

from pipelines.environment import environment
from pipelines.errors import FatalError
from pipelines.storage.retries import persistently, reason

if TYPE_CHECKING:
    from pipelines.storage.options import StoreSettings

# Of one round; `persistently` makes several, and its waits are longer.
_S3_ATTEMPTS = 5
_CONNECT_TIMEOUT_S, _REQUEST_TIMEOUT_S = 10.0, 60.0
_GCS_RETRIES_FOR = timedelta(minutes=3)


def open_store(url: str, options: StoreSettings | None) -> tuple[pafs.FileSystem, str]:
    """Find the file system of a URL, and the path within it; of most stores nothing is asked yet.

    Raises:
        FatalError: nothing here serves such URLs, or not with such options, or the service cannot be reached.
    """
    scheme, _, rest = url.partition("://")
    place, _, path = rest.partition("/")
    try:
        if scheme in ("s3", "s3a"):
            return client("s3", place, options), rest
        if scheme in ("gs", "gcs"):
            _refuse(url, options, "region", "profile")
            return client("gs", "", options), rest
        if scheme in ("abfs", "abfss", "az"):
            _refuse(url, options, "region", "profile", "anonymous")
            container, _, host = place.partition("@")
            return client("az", _azure_account(url, host), options), f"{container}/{path}".rstrip("/")
        _refuse(url, options, "endpoint", "region", "profile", "anonymous")
        if scheme in ("hdfs", "viewfs"):
            return pafs.FileSystem.from_uri(url)
        fs, path = fsspec.core.url_to_fs(url)
        return pafs.PyFileSystem(pafs.FSSpecHandler(fs)), path
    except (ImportError, ValueError) as error:
        raise FatalError(
            f"{url}: nothing here reads {scheme}:// ({reason(error)}); install its fsspec package"
        ) from None
    except OSError as error:
        raise FatalError(f"{url}: cannot be reached ({reason(error)}); check the address and the credentials") from None


@lru_cache(maxsize=64)
def client(kind: str, place: str, options: StoreSettings | None) -> pafs.FileSystem:
    """Make the client of a bucket or account: once, since it looks regions up and holds connections for all its files.

    Args:
        kind: "s3", "gs" or "az".
        place: of S3 the bucket, of Azure the account; GCS has one for all.
        options: as in `open_store`.
    """
    return {"s3": _s3, "gs": _gcs, "az": _azure}[kind](place, options)


def _s3(bucket: str, options: StoreSettings | None) -> pafs.FileSystem:
    profile = options.profile if options else None
    endpoint = (
        (options and options.endpoint) or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    )
    region = options and options.region
    if region is None and endpoint is None:
        region = persistently(f"s3://{bucket}", lambda: pafs.resolve_s3_region(bucket))
    with environment(AWS_PROFILE=profile):  # the client takes its credentials when it is made, and renews them itself
        return pafs.S3FileSystem(
            region=region,
            anonymous=bool(options and options.anonymous),
            endpoint_override=endpoint,
            scheme=urlsplit(endpoint).scheme if endpoint else None,
            retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=_S3_ATTEMPTS),
            connect_timeout=_CONNECT_TIMEOUT_S,
            request_timeout=_REQUEST_TIMEOUT_S,
            allow_delayed_open=True,  # a part is one PUT, not the three requests of an upload in pieces
        )


def _gcs(_: str, options: StoreSettings | None) -> pafs.FileSystem:
    endpoint = urlsplit(options.endpoint) if options and options.endpoint else None
    return pafs.GcsFileSystem(
        anonymous=bool(options and options.anonymous),
        endpoint_override=endpoint.netloc if endpoint else None,
        scheme=endpoint.scheme if endpoint else None,
        retry_time_limit=_GCS_RETRIES_FOR,
    )


def _azure_account(url: str, host: str) -> str:
    """Find the account that a URL names before `.dfs.core.windows.net`; `az://container/path` means the usual one."""
    told = _azure_connection()
    account = host.partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT") or told.get("AccountName")
    if not account:
        raise FatalError(
            f"{url}: names no account; write abfss://container@account.dfs.core.windows.net/path, or set "
            "AZURE_STORAGE_ACCOUNT"
        )
    return account


def _azure_connection() -> dict[str, str]:
    """Read the connection string; it and the other variables are those of Azure's own command line."""
    parts = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";")
    return {name: value for name, _, value in (part.partition("=") for part in parts)}


def _azure(account: str, options: StoreSettings | None) -> pafs.FileSystem:
    told = _azure_connection()
    endpoint = urlsplit((options and options.endpoint) or told.get("BlobEndpoint", ""))
    authority, scheme = (endpoint.netloc, endpoint.scheme) if endpoint.netloc else (None, None)
    key = os.environ.get("AZURE_STORAGE_KEY") or told.get("AccountKey")
    sas = os.environ.get("AZURE_STORAGE_SAS_TOKEN") or told.get("SharedAccessSignature")
    return pafs.AzureFileSystem(
        account_name=account,
        account_key=None if sas else key,
        sas_token=sas,
        blob_storage_authority=authority,
        blob_storage_scheme=scheme,
        dfs_storage_authority=authority,
        dfs_storage_scheme=scheme,
    )


def _refuse(url: str, options: StoreSettings | None, *names: str) -> None:
    given = [name for name in names if options and getattr(options, name)]
    if options and given:
        raise FatalError(
            f"storage {options.url}: {', '.join(given)} is no option for {url.partition('://')[0]}://; remove it, and "
            "use the store's own configuration or environment"
        )
