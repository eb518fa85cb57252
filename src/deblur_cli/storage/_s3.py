"""What fsspec does not show of S3: the pages of a listing, and uploads that were begun and never completed."""

from collections.abc import Iterator
from typing import Any

PROTOCOLS = {"s3", "s3a"}


class Pages(Iterator[list[dict[str, Any]]]):
    """Up to 1000 names of a folder at a time, as fsspec tells them. A page that failed is asked for again by the next `next`."""

    def __init__(self, fs: Any, name: str) -> None:  # noqa: ANN401
        self._fs = fs
        bucket, key = _split(name)
        self._bucket = bucket
        self._where = {"Bucket": bucket, "Prefix": f"{key}/" if key else "", "Delimiter": "/"}
        self._more = True

    def __next__(self) -> list[dict[str, Any]]:
        if not self._more:
            raise StopIteration
        page = self._fs.call_s3("list_objects_v2", **self._where)
        self._more = page.get("IsTruncated", False)
        if self._more:
            self._where["ContinuationToken"] = page["NextContinuationToken"]
        folders = [
            {"name": f"{self._bucket}/{prefix['Prefix']}", "type": "directory"}
            for prefix in page.get("CommonPrefixes", ())
        ]
        files = [
            {"name": f"{self._bucket}/{each['Key']}", "size": each["Size"], **each}
            for each in page.get("Contents", ())
            if not each["Key"].endswith("/")  # what consoles make for an empty folder
        ]
        return [*folders, *files] or [
            {"name": f"{self._bucket}/{self._where['Prefix']}", "type": "directory"}
        ]


def abort_uploads(fs: Any, names: set[str]) -> None:  # noqa: ANN401
    """Uploads of these names that nobody will complete."""
    bucket = _split(next(iter(names)))[0]
    common = _common_beginning([_split(name)[1] for name in names])
    where = {"Bucket": bucket, "Prefix": common}
    while True:
        page = fs.call_s3("list_multipart_uploads", **where)
        for upload in page.get("Uploads", ()):
            if f"{bucket}/{upload['Key']}" in names:
                fs.call_s3(
                    "abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
        if not page.get("IsTruncated"):
            return
        where |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def _split(name: str) -> tuple[str, str]:
    bucket, _, key = name.partition("/")
    return bucket, key


def _common_beginning(keys: list[str]) -> str:
    first, last = min(keys), max(keys)
    return first[
        : next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    ]
