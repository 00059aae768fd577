"""Open the file system of a URL. Credentials come from the environment."""

from __future__ import annotations

import os
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import fsspec
import fsspec.core
import pyarrow.fs as pafs

from pipelines.environment import environment
from pipelines.errors import FatalError
from pipelines.storage import retries
from pipelines.storage.retries import access_with_retries, describe_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.storage.store_settings import StoreSettings

# Keys under which fsspec's file systems return something that changes when a file is written again.
_ETAG_KEYS = (
    *("etag", "ETag", "md5Hash", "blob_id"),
    *("LastModified", "last_modified", "Last-Modified", "updated", "created"),
)

_CONNECT_TIMEOUT_S, _REQUEST_TIMEOUT_S = 10.0, 60.0


def open_store(url: str, options: StoreSettings | None) -> tuple[pafs.FileSystem, str]:
    """Open the file system of a URL, in most cases without sending a request.

    Args:
        url: a URL with a scheme; see `canonical_url`.
        options: the settings for this URL.

    Returns:
        The file system, and the path of the URL within it.

    Raises:
        FatalError: the scheme or one of the options is not supported, or the service cannot be reached.
    """
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    try:
        if scheme == "s3":
            return open_client("s3", authority, options), rest
        if scheme == "gs":
            _check_options(url, options, "region", "profile")
            return open_client("gs", "", options), rest
        if scheme in ("abfss", "az"):
            _check_options(url, options, "region", "profile", "anonymous")
            container, _, host = authority.partition("@")
            return open_client("az", _find_azure_account(url, host), options), f"{container}/{path}".rstrip("/")
        _check_options(url, options, "endpoint", "region", "profile", "anonymous")
        if scheme in ("hdfs", "viewfs"):
            return pafs.FileSystem.from_uri(url)
        fs, path = fsspec.core.url_to_fs(url)
        return pafs.PyFileSystem(pafs.FSSpecHandler(fs)), path
    except (ImportError, ValueError) as error:
        raise FatalError(
            f"{url}: {scheme}:// is not supported ({describe_error(error)}); install its fsspec package"
        ) from None
    except OSError as error:
        raise FatalError(
            f"{url}: cannot be reached ({describe_error(error)}); check the URL and the credentials"
        ) from None


@lru_cache(maxsize=64)
def open_client(kind: str, name: str, options: StoreSettings | None) -> pafs.FileSystem:
    """Open the client of a bucket or account. It is cached, because it looks up regions and keeps connections open.

    Args:
        kind: "s3", "gs" or "az".
        name: the bucket (S3) or account (Azure); empty for GCS, whose client serves all buckets.
        options: as in `open_store`.
    """
    return {"s3": _open_s3, "gs": _open_gcs, "az": _open_azure}[kind](name, options)


def find_etag(details: Mapping[str, Any]) -> str:
    """Return the ETag of a file, or another value that changes when the file is written again; empty if there is none.

    Args:
        details: what an fsspec file system returns for the file.
    """
    for key in _ETAG_KEYS:
        if (value := details.get(key)) is not None:
            # a listing may return a number for the time that a query of a single file returns as datetime
            return f"{key}={value.timestamp() if isinstance(value, datetime) else value}"
    return ""


def _open_s3(bucket: str, options: StoreSettings | None) -> pafs.FileSystem:
    profile = options.profile if options else None
    endpoint = (
        (options and options.endpoint) or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    )
    region = options and options.region
    if region is None and endpoint is None:
        region = access_with_retries(f"s3://{bucket}", lambda: pafs.resolve_s3_region(bucket))
    with environment(AWS_PROFILE=profile):  # read when the client is created; it renews its credentials itself
        return pafs.S3FileSystem(
            region=region,
            anonymous=bool(options and options.anonymous),
            endpoint_override=endpoint,
            scheme=urlsplit(endpoint).scheme if endpoint else None,
            retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=retries.S3_ATTEMPTS),
            connect_timeout=_CONNECT_TIMEOUT_S,
            request_timeout=_REQUEST_TIMEOUT_S,
            allow_delayed_open=True,  # one PUT per part instead of the three requests of a multipart upload
        )


def _open_gcs(_: str, options: StoreSettings | None) -> pafs.FileSystem:
    endpoint = urlsplit(options.endpoint) if options and options.endpoint else None
    return pafs.GcsFileSystem(
        anonymous=bool(options and options.anonymous),
        endpoint_override=endpoint.netloc if endpoint else None,
        scheme=endpoint.scheme if endpoint else None,
        retry_time_limit=retries.GCS_RETRY_TIME_LIMIT,
    )


def _find_azure_account(url: str, host: str) -> str:
    """Return the account in a URL (before `.dfs.core.windows.net`), or that of the environment (`az://container/path`)."""
    connection = _read_azure_connection_string()
    account = host.partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT") or connection.get("AccountName")
    if not account:
        raise FatalError(
            f"{url}: no account; write abfss://container@account.dfs.core.windows.net/path, or set "
            "AZURE_STORAGE_ACCOUNT"
        )
    return account


def _read_azure_connection_string() -> dict[str, str]:
    """Parse the connection string. This and the other variables are those of Azure's command line."""
    parts = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";")
    return {name: value for name, _, value in (part.partition("=") for part in parts)}


def _open_azure(account: str, options: StoreSettings | None) -> pafs.FileSystem:
    connection = _read_azure_connection_string()
    endpoint = urlsplit((options and options.endpoint) or connection.get("BlobEndpoint", ""))
    authority, scheme = (endpoint.netloc, endpoint.scheme) if endpoint.netloc else (None, None)
    key = os.environ.get("AZURE_STORAGE_KEY") or connection.get("AccountKey")
    sas = os.environ.get("AZURE_STORAGE_SAS_TOKEN") or connection.get("SharedAccessSignature")
    return pafs.AzureFileSystem(
        account_name=account,
        account_key=None if sas else key,
        sas_token=sas,
        blob_storage_authority=authority,
        blob_storage_scheme=scheme,
        dfs_storage_authority=authority,
        dfs_storage_scheme=scheme,
    )


def _check_options(url: str, options: StoreSettings | None, *names: str) -> None:
    given = [name for name in names if options and getattr(options, name)]
    if options and given:
        raise FatalError(
            f"storage {options.url}: {', '.join(given)} not supported for {url.partition('://')[0]}://; remove it, and "
            "use the store's own configuration or environment"
        )
