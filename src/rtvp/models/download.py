"""Download of one file whose size and hash are known, going on where an earlier attempt broke off."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx

from rtvp.errors import RtvpError

ATTEMPTS = 4
TIMEOUT = httpx.Timeout(30, connect=5)  # seconds without a byte, and to connect
# Answers that another attempt may better: time-out, too many requests, range past the end (see _receive).
WORTH_RETRYING = (408, 416, 429)

Progress = Callable[[int, int], None]


def download(url: str, part: Path, size: int, progress: Progress, retry_pause_s: float) -> None:
    """Bring ``part`` to ``size`` bytes of what ``url`` serves. The hash is left to the caller.

    Only the bytes that ``part`` lacks are asked for; a server that sends the whole file again is heard.

    Args:
        url: http or https.
        part: the file to complete, or to make; it stays when the download fails.
        size: bytes in all.
        progress: called with the bytes that are there and the bytes in all, as they come.
        retry_pause_s: seconds before the first retry; doubles with each.

    Raises:
        RtvpError: no connection, it broke every time, the server refuses, or its file is of another size.
        OSError: ``part`` cannot be written.
    """
    failure = ""
    with httpx.Client(
        follow_redirects=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}
    ) as client:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(retry_pause_s * 2 ** (attempt - 1))
            try:
                _receive(client, url, part, size, progress)
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                failure = f"the server answered {status} {error.response.reason_phrase}"
                if status < 500 and status not in WORTH_RETRYING:
                    break
            except httpx.RequestError as error:
                failure = " ".join(str(error).split()) or type(error).__name__
            else:
                if _size(part) == size:
                    return
                failure = "the connection closed early"
    raise RtvpError(
        f"cannot download {url}: {failure} ({_size(part)} of {size} bytes are here, and are kept)"
    )


def _receive(client: httpx.Client, url: str, part: Path, size: int, progress: Progress) -> None:
    """One request for what ``part`` lacks."""
    have = _size(part)
    if have == size:
        return
    if have > size:
        have = 0
    with client.stream("GET", url, headers={"Range": f"bytes={have}-"} if have else {}) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink(missing_ok=True)  # the server's file ends before ours: begin anew, and learn its size
        response.raise_for_status()
        resumes = response.status_code == httpx.codes.PARTIAL_CONTENT
        if resumes and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise RtvpError(f"cannot download {url}: asked for bytes from {have} on, got another range")
        have = have if resumes else 0
        offered = have + int(response.headers.get("Content-Length", size - have))
        if offered != size:
            raise RtvpError(
                f"cannot download {url}: expected a file of {size} bytes, the server has {offered}"
            )
        with part.open("ab" if have else "wb") as file:
            for chunk in response.iter_bytes():
                have += len(chunk)
                if have > size:
                    raise RtvpError(f"cannot download {url}: expected {size} bytes, the server sends more")
                file.write(chunk)
                progress(have, size)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
