import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from rtvp.errors import RtvpError
from rtvp.models import weights
from rtvp.models.weights import (
    KNOWN_WEIGHTS,
    SHIPPED_MODELS,
    WeightFile,
    fetch,
    find,
    find_checkpoint,
    is_offline,
    verify,
    weights_home,
)

CONTENT = bytes(range(256)) * 800  # 200 KiB: more than one read
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ``content`` at /tiny.pt, as well or badly as told; keeps the Range of each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.ranges: list[str | None] = []
        self.honours_range = True
        self.tells_length = True
        self.wrong_range = False
        self.cuts: list[int] = []  # for each coming request: close after that many bytes
        self.statuses: list[int] = []  # for each coming request: answer with that

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/tiny.pt"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.ranges.append(asked)
        if self.path != "/tiny.pt" or server.statuses:
            self.send_error(server.statuses.pop(0) if server.statuses else 404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.honours_range else 0
        if start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if server.tells_length:
            self.send_header("Content-Length", str(len(body)))
        if start:
            first = start + server.wrong_range
            self.send_header(
                "Content-Range", f"bytes {first}-{len(server.content) - 1}/{len(server.content)}"
            )
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that ``fetch('tiny')`` downloads from, into tmp_path / home."""
    monkeypatch.setenv("RTVP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RTVP_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        offer(monkeypatch, server.url)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def offer(monkeypatch: pytest.MonkeyPatch, *urls: str) -> None:
    tiny = WeightFile("tiny", "tiny.pt", urls, len(CONTENT), DIGEST, "Apache-2.0", "a test")
    monkeypatch.setitem(KNOWN_WEIGHTS, "tiny", tiny)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home" / "tiny.pt.part"


def fetch_tiny(**options: bool) -> Path:
    return fetch("tiny", retry_pause_s=0.001, **options)


def assert_whole(path: Path, home: Path) -> None:
    assert path == home / "tiny.pt"
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in home.iterdir()] == ["tiny.pt"]


def test_fetch_a_complete_file_once(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch("tiny", progress=lambda done, total: seen.append((done, total)))
    assert_whole(path, tmp_path / "home")
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)
    assert find("tiny") == fetch("tiny") == path
    assert server.ranges == [None]


def test_a_truncated_body_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.cuts = [70_000, 50_000]
    assert_whole(fetch_tiny(), tmp_path / "home")
    assert server.ranges == [None, "bytes=70000-", "bytes=120000-"]


def test_a_truncated_body_of_untold_length(server: Server, tmp_path: Path) -> None:
    server.tells_length = False
    server.cuts = [70_000]
    assert_whole(fetch_tiny(), tmp_path / "home")
    assert server.ranges == [None, "bytes=70000-"]


def test_an_interrupted_download_goes_on_in_the_next_call(server: Server, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("tiny", progress=interrupt)
    kept = (tmp_path / "home" / "tiny.pt.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    assert_whole(fetch_tiny(), tmp_path / "home")
    assert server.ranges == [None, f"bytes={kept}-"]


def test_a_server_that_ignores_range(server: Server, part: Path) -> None:
    part.write_bytes(CONTENT[:1000])
    server.honours_range = False
    assert_whole(fetch_tiny(), part.parent)
    assert server.ranges == ["bytes=1000-"]


def test_a_part_that_is_whole_is_not_asked_for(server: Server, part: Path) -> None:
    part.write_bytes(CONTENT)
    assert_whole(fetch_tiny(), part.parent)
    assert server.ranges == []


def test_a_part_that_is_too_long_is_begun_anew(server: Server, part: Path) -> None:
    part.write_bytes(CONTENT + b"more")
    assert_whole(fetch_tiny(), part.parent)
    assert server.ranges == [None]


def test_gives_up_after_some_attempts_and_keeps_the_part(server: Server, tmp_path: Path) -> None:
    server.cuts = [1000] * 100
    with pytest.raises(RtvpError, match=rf"weights tiny: cannot download {server.url}: .*are kept.* by hand"):
        fetch_tiny()
    assert len(server.ranges) == 4
    assert (tmp_path / "home" / "tiny.pt.part").read_bytes() == CONTENT[:4000]
    assert not (tmp_path / "home" / "tiny.pt").exists()


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_wrong_hash_is_deleted_and_told(server: Server, tmp_path: Path, tells_length: bool) -> None:
    server.content, server.tells_length = CONTENT[::-1], tells_length
    with pytest.raises(RtvpError, match=rf"sha256 [0-9a-f]{{64}}, expected {DIGEST}; it was deleted"):
        fetch_tiny()
    assert list((tmp_path / "home").iterdir()) == []
    server.content = CONTENT
    assert_whole(fetch_tiny(), tmp_path / "home")


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x"])
def test_another_size_is_told_and_not_retried(server: Server, tmp_path: Path, content: bytes) -> None:
    server.content = content
    with pytest.raises(
        RtvpError, match=f"expected a file of {len(CONTENT)} bytes, the server has {len(content)}"
    ):
        fetch_tiny()
    assert len(server.ranges) == 1
    assert list((tmp_path / "home").iterdir()) == []


def test_more_bytes_than_expected_of_untold_length(server: Server, tmp_path: Path) -> None:
    server.content, server.tells_length = CONTENT * 2, False
    with pytest.raises(RtvpError, match="the server sends more"):
        fetch_tiny()
    assert not (tmp_path / "home" / "tiny.pt").exists()


def test_a_part_longer_than_the_servers_file(server: Server, part: Path) -> None:
    part.write_bytes(CONTENT[:5000])
    server.content = CONTENT[:4000]
    with pytest.raises(RtvpError, match="the server has 4000"):
        fetch_tiny()
    assert server.ranges == ["bytes=5000-", None]


def test_an_answer_of_another_range_is_not_mixed_in(server: Server, part: Path) -> None:
    part.write_bytes(CONTENT[:1000])
    server.wrong_range = True
    with pytest.raises(RtvpError, match="asked for bytes from 1000 on, got another range"):
        fetch_tiny()
    assert part.read_bytes() == CONTENT[:1000]


def test_not_found_is_told_and_not_retried(server: Server, tmp_path: Path) -> None:
    server.statuses = [404] * 10
    with pytest.raises(RtvpError, match="the server answered 404 Not Found") as told:
        fetch_tiny()
    assert len(server.ranges) == 1
    for fact in (server.url, str(len(CONTENT)), DIGEST, str(tmp_path / "home" / "tiny.pt")):
        assert fact in str(told.value)


def test_a_busy_server_is_tried_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    assert_whole(fetch_tiny(), tmp_path / "home")


def test_the_next_url_is_tried(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, server.url.replace("tiny", "gone"), server.url)
    assert_whole(fetch_tiny(), tmp_path / "home")


def test_no_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "http://127.0.0.1:9/tiny.pt")  # the discard port: nothing listens
    with pytest.raises(RtvpError, match=r"cannot download http://127\.0\.0\.1:9/tiny\.pt"):
        fetch_tiny()


@pytest.mark.parametrize("by_flag", [True, False])
def test_offline_is_refused_before_any_request(
    server: Server, monkeypatch: pytest.MonkeyPatch, by_flag: bool
) -> None:
    if not by_flag:
        monkeypatch.setenv("RTVP_OFFLINE", "1")
    with pytest.raises(RtvpError, match=r"weights tiny: RTVP is offline, and .*tiny\.pt is missing"):
        fetch_tiny(offline=by_flag)
    assert server.ranges == []


def test_offline_what_is_there_is_had(server: Server, part: Path) -> None:
    (part.parent / "tiny.pt").write_bytes(CONTENT)
    assert_whole(fetch_tiny(offline=True), part.parent)


def test_a_damaged_file_is_replaced(server: Server, part: Path) -> None:
    (part.parent / "tiny.pt").write_bytes(CONTENT[::-1])
    assert_whole(fetch_tiny(), part.parent)


def test_a_home_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(RtvpError, match="weights tiny: "):
        fetch_tiny()


def test_find_says_what_to_put_where(server: Server, part: Path) -> None:
    with pytest.raises(RtvpError) as told:
        find("tiny")
    for fact in ("fetch tiny", server.url, str(len(CONTENT)), DIGEST, str(part.parent / "tiny.pt")):
        assert fact in str(told.value)
    (part.parent / "tiny.pt").write_bytes(CONTENT[:-1])
    with pytest.raises(RtvpError, match=f"has {len(CONTENT) - 1} bytes, expected {len(CONTENT)}"):
        find("tiny")
    (part.parent / "tiny.pt").write_bytes(CONTENT[::-1])
    with pytest.raises(RtvpError, match="has sha256"):
        find("tiny")


def test_names_that_are_not_known() -> None:
    for use in (find, fetch):
        with pytest.raises(
            RtvpError, match="expected one of rtvp-lite0, open, mobile_sam, clip-vit-base-patch32, got"
        ):
            use("sam")


def test_clip_is_had_by_hand() -> None:
    for use in (find, fetch):
        with pytest.raises(RtvpError, match=r"clip-vit-base-patch32: .*by hand.*clip:FOLDER"):
            use("clip-vit-base-patch32")


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for the package's folder of shipped files."""
    monkeypatch.setattr(weights, "files", lambda package: tmp_path / package)
    folder = tmp_path / "rtvp" / "shipped"
    folder.mkdir(parents=True)
    for name in SHIPPED_MODELS:
        (folder / f"{name}.json").write_text(json.dumps({"size": len(CONTENT), "sha256": DIGEST}))
        (folder / f"{name}.safetensors").write_bytes(CONTENT)
    return folder


def test_checkpoints_by_name_and_by_path(shipped: Path, tmp_path: Path) -> None:
    assert find_checkpoint(None) == find_checkpoint("rtvp-lite0") == shipped / "rtvp-lite0.safetensors"
    assert find_checkpoint("open") == find_checkpoint(Path("open")) == shipped / "open.safetensors"
    assert find_checkpoint(tmp_path / "open") == tmp_path / "open"


def test_the_shipped_model_is_found_and_checked(shipped: Path) -> None:
    path = shipped / "rtvp-lite0.safetensors"
    assert find("rtvp-lite0") == fetch("rtvp-lite0", offline=True) == path
    path.write_bytes(CONTENT[:-5])
    for use in (find, fetch):
        with pytest.raises(RtvpError, match=r"rtvp-lite0: .* expected \d+; reinstall the package rtvp"):
            use("rtvp-lite0")


@pytest.mark.parametrize("facts", ["{", "[]", '{"size": 3}', '{"size": "x", "sha256": ""}', None])
def test_a_package_without_its_facts_is_told(shipped: Path, facts: str | None) -> None:
    path = shipped / "rtvp-lite0.json"
    path.unlink() if facts is None else path.write_text(facts)
    with pytest.raises(RtvpError, match=r"cannot read .*rtvp-lite0\.json; reinstall"):
        find("rtvp-lite0")


def test_verify_tells_each_state(server: Server, part: Path, shipped: Path) -> None:
    def states() -> dict[str, str]:
        return {check.weight.name: check.state for check in verify()}

    expected = {"rtvp-lite0": "ok", "open": "ok", "mobile_sam": "missing", "clip-vit-base-patch32": "by hand"}
    assert states() == {**expected, "tiny": "missing"}
    fetch_tiny()
    assert states() == {**expected, "tiny": "ok"}
    (part.parent / "tiny.pt").write_bytes(CONTENT[::-1])
    assert states() == {**expected, "tiny": "bad"}


def test_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTVP_HOME", str(tmp_path))
    assert weights_home() == tmp_path
    monkeypatch.delenv("RTVP_HOME")
    assert weights_home().is_absolute()
    assert "rtvp" in weights_home().parts


@pytest.mark.parametrize(
    ("value", "offline"),
    [("1", True), ("true", True), ("YES", True), ("0", False), ("", False), ("False", False), (None, False)],
)
def test_is_offline(monkeypatch: pytest.MonkeyPatch, value: str | None, offline: bool) -> None:
    monkeypatch.delenv("RTVP_OFFLINE", raising=False)
    if value is not None:
        monkeypatch.setenv("RTVP_OFFLINE", value)
    assert is_offline() is offline
    assert is_offline(flag=True) is True


def test_the_official_files_are_pinned() -> None:
    for weight in KNOWN_WEIGHTS.values():
        assert bool(weight.urls) == bool(weight.sha256) == bool(weight.size)
        assert all(url.startswith("https://") for url in weight.urls)
        assert len(weight.sha256) in (0, 64)
