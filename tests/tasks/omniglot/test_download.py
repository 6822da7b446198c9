"""Downloads from a server on this machine: whole, resumed, refused."""

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from tapehead.errors import DataError
from tapehead.tasks.omniglot import download as module
from tapehead.tasks.omniglot.download import download
from tapehead.tasks.omniglot.images import drawings
from tests.tasks.omniglot import synthetic

pytest.importorskip("pooch")
FIRST, SECOND = (f"{name}.zip" for name in synthetic.NAMES)


class Server(ThreadingHTTPServer):
    """Serves `content` by name; `limit` bytes of a file at most before the connection breaks."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content: dict[str, bytes] = {}
        self.limit: int | None = None
        self.knows_ranges = True
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/python"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name, wanted = self.path.rpartition("/")[2], self.headers.get("Range")
        self.server.asked.append((name, wanted))
        content = self.server.content.get(name)
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.knows_ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.limit])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    made = Server()
    folder = tmp_path / "original"
    folder.mkdir()
    synthetic.write_zip(folder)
    made.content = {path.name: path.read_bytes() for path in folder.iterdir()}
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def halves(server, tmp_path):
    return synthetic.halves(tmp_path / "original")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_what_is_downloaded_is_the_archives(server, halves, cache, tmp_path, capfd):
    source = download(cache, halves, server.url)
    assert source.form == "zip"
    assert {path.name: path.read_bytes() for path in source.paths} == server.content
    assert names(cache) == {FIRST, SECOND}
    assert server.asked == [(FIRST, None), (SECOND, None)]
    download(cache, halves, server.url)
    assert len(server.asked) == 2
    downloaded = drawings(None, cache, halves, server.url)
    assert torch.equal(downloaded, drawings(tmp_path / "original", tmp_path / "other", halves))
    assert capfd.readouterr() == ("", "")  # the bar is for terminals


def test_an_interrupted_download_goes_on_where_it_stopped(server, halves, cache, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 1000)
    server.limit = 5000
    with pytest.raises(DataError, match=r"images_background\.zip: cannot be downloaded: .*What came is kept"):
        download(cache, halves, server.url)
    assert names(cache) == {f"{FIRST}.part"}
    assert (cache / f"{FIRST}.part").read_bytes() == server.content[FIRST][:5000]
    server.limit = None
    source = download(cache, halves, server.url)
    assert server.asked[1] == (FIRST, "bytes=5000-")
    assert {path.name: path.read_bytes() for path in source.paths} == server.content
    assert names(cache) == {FIRST, SECOND}


def test_a_server_without_ranges_sends_everything_again(server, halves, cache):
    server.knows_ranges = False
    cache.mkdir()
    (cache / f"{FIRST}.part").write_bytes(server.content[FIRST][:5000])
    assert download(cache, halves, server.url).paths[0].read_bytes() == server.content[FIRST]


def test_a_part_that_is_whole_is_taken(server, halves, cache):
    cache.mkdir()
    (cache / f"{FIRST}.part").write_bytes(server.content[FIRST])
    assert download(cache, halves, server.url).paths[0].read_bytes() == server.content[FIRST]


def test_a_part_of_another_file_is_dropped(server, halves, cache):
    cache.mkdir()
    for part in (b"something else", server.content[FIRST] + b"and more"):
        (cache / f"{FIRST}.part").write_bytes(part)
        assert download(cache, halves, server.url).paths[0].read_bytes() == server.content[FIRST]
        (cache / FIRST).unlink()
    assert names(cache) == {SECOND}


def test_an_altered_download_is_refused_and_leaves_nothing(server, halves, cache):
    server.content[SECOND] = server.content[SECOND][:-1] + b"x"
    with pytest.raises(DataError, match=r"images_evaluation\.zip: expected md5 \w{32}, got another file"):
        drawings(None, cache, halves, server.url)
    assert names(cache) == {FIRST}


def test_a_damaged_archive_in_the_cache_is_downloaded_again(server, halves, cache):
    download(cache, halves, server.url)
    (cache / SECOND).write_bytes(b"damaged")
    assert download(cache, halves, server.url).paths[1].read_bytes() == server.content[SECOND]
    assert [name for name, _ in server.asked] == [FIRST, SECOND, SECOND]


def test_a_server_that_has_nothing_is_named(server, halves, cache):
    server.content = {}
    with pytest.raises(DataError, match=r"http://127.*/images_background\.zip: cannot be downloaded: HTTPError 404"):
        download(cache, halves, server.url)
    assert names(cache) == set()


def test_no_server(halves, cache, server):
    with pytest.raises(DataError, match=r"cannot be downloaded: .*option data"):
        download(cache, halves, "http://127.0.0.1:9")


def test_a_cache_that_cannot_be_written(server, halves, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file/cache: cannot be written: .*TAPEHEAD_CACHE"):
        download(tmp_path / "file" / "cache", halves, server.url)


def test_two_at_a_time_download_once(server, halves, cache):
    threads = [threading.Thread(target=download, args=(cache, halves, server.url)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(server.asked) == [(FIRST, None), (SECOND, None)]


@pytest.mark.parametrize("missing", ["pooch", "tqdm"])
def test_a_missing_library_names_the_extra(missing: str, server, halves, cache, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=rf'package {missing}, got none.*"tapehead\[omniglot\]"'):
        download(cache, halves, server.url)
