"""Files of others: found, downloaded over a hostile network, checked, recorded, and said in a sentence."""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import pytest

from instax3d.assets import asset_folder, locate, require
from instax3d.assets.download import download
from instax3d.assets.ledger import Ledger, sha256
from instax3d.assets.usage import asset_records, check_assets, contents
from instax3d.cli import main
from instax3d.config import PluginChoice, load_config
from instax3d.errors import AssetError
from instax3d.io.paths import assets_dir
from instax3d.plugin import Asset, AssetFile, AssetRef, Kind, PluginConfig
from instax3d.portrait.licenses import allows_commercial, parts, verdict
from instax3d.registry import registry

BODY = bytes(range(256)) * 4000
SUM = hashlib.sha256(BODY).hexdigest()


class _Server(ThreadingHTTPServer):
    """Serves BODY with ranges, and misbehaves as told."""

    cut_after: int | None = None
    status: int | None = None
    ranges = True
    tag = '"one"'
    body = BODY
    token: str | None = None
    revision: str | None = None
    elsewhere: str | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/model.bin"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        told, headers = self.server, dict(self.headers.items())
        told.requests.append(headers)
        if told.elsewhere:
            self.send_response(302)
            self.send_header("Location", told.elsewhere)
            if told.revision:
                self.send_header("X-Repo-Commit", told.revision)
            self.end_headers()
            return
        if told.token and headers.get("Authorization") != f"Bearer {told.token}":
            self.send_error(401)
            return
        if told.status:
            self.send_error(told.status)
            return
        start = 0
        wanted = headers.get("Range")
        if wanted and told.ranges and headers.get("If-Range") == told.tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(told.body) - 1}/{len(told.body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(told.body) - start))
        self.send_header("ETag", told.tag)
        self.end_headers()
        rest = told.body[start:]
        self.wfile.write(rest if told.cut_after is None else rest[: told.cut_after])


@pytest.fixture
def server() -> Iterator[_Server]:
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTAX3D_ASSETS", str(tmp_path / "assets"))


def asset(*files: AssetFile, name: str = "toy-net", **changes) -> Asset:
    values = {
        "summary": "a toy network",
        "license": "MIT",
        "license_url": "https://example.org/licence",
        "commercial": True,
        "registration": False,
        "homepage": "https://example.org/toy",
    }
    return Asset(name=name, files=files, **{**values, **changes})


def known(monkeypatch: pytest.MonkeyPatch, *assets: Asset) -> None:
    for item in assets:
        monkeypatch.setitem(registry().assets, item.name, item)


def file(server: _Server, **changes) -> AssetFile:
    return AssetFile("model.bin", **{"url": server.url, "size": len(BODY), "sha256": SUM, **changes})


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_revision_that_a_hub_tells_on_its_way_is_kept(server, tmp_path, monkeypatch):
    hub = _Server()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.elsewhere, hub.revision = server.url, "0ad7de9"
    try:
        known(monkeypatch, asset(file(hub, sha256=None)))
        assert main(["assets", "get", "toy-net", "-q"]) == 0
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
    path = require("toy-net").path
    ledger = Ledger(tmp_path / "assets")
    assert ledger.revision_of(path) == "0ad7de9"
    os.utime(path)  # read anew, it is the same file
    require("toy-net")
    assert ledger.revision_of(path) == "0ad7de9"
    assert ledger.revision_of(tmp_path / "another") is None


def test_a_download_is_checked_and_moved_in_one_step(server, tmp_path, monkeypatch, capsys):
    known(monkeypatch, asset(file(server)))
    assert locate("toy-net") is None
    assert main(["assets", "get", "toy-net"]) == 0
    found = require("toy-net")
    assert found.path.read_bytes() == BODY
    assert found.path == asset_folder("toy-net") / "model.bin"
    assert left(asset_folder("toy-net")) == ["model.bin"]
    assert "as published" in capsys.readouterr().out
    assert main(["assets", "get", "toy-net"]) == 0
    assert len(server.requests) == 1, "what is here is not fetched again"


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path, size):
    toy, target = asset(file(server, size=size)), tmp_path / "model.bin"
    server.cut_after = 300_000
    with pytest.raises(AssetError, match="run the command again to resume"):
        download(toy, toy.files[0], target)
    assert not target.exists()
    server.cut_after = None
    told: list[int] = []
    assert download(toy, toy.files[0], target, lambda there, total: told.append(there)).sha256 == SUM
    assert target.read_bytes() == BODY
    start = int(server.requests[1]["Range"].removeprefix("bytes=").rstrip("-"))
    assert 0 < start <= 300_000
    assert min(told) > start
    assert left(tmp_path) == ["model.bin"]


def test_a_part_of_another_version_is_not_completed(server, tmp_path):
    toy, target = asset(file(server, size=None, sha256=None)), tmp_path / "model.bin"
    server.cut_after = 1000
    with pytest.raises(AssetError):
        download(toy, toy.files[0], target)
    server.cut_after, server.tag, server.body = None, '"two"', BODY[::-1]
    download(toy, toy.files[0], target)
    assert target.read_bytes() == BODY[::-1]


def test_a_server_without_ranges_starts_anew(server, tmp_path):
    toy, target = asset(file(server)), tmp_path / "model.bin"
    server.cut_after, server.ranges = 1000, False
    with pytest.raises(AssetError):
        download(toy, toy.files[0], target)
    server.cut_after = None
    assert download(toy, toy.files[0], target).sha256 == SUM


def test_a_wrong_file_is_removed(server, tmp_path):
    toy, target = asset(file(server)), tmp_path / "model.bin"
    server.body = BODY[::-1]
    with pytest.raises(AssetError, match="another file than the published"):
        download(toy, toy.files[0], target)
    assert left(tmp_path) == []
    server.body = BODY + b"more"
    with pytest.raises(AssetError, match="the published file has"):
        download(toy, toy.files[0], target)
    assert left(tmp_path) == []


@pytest.mark.parametrize("status", [401, 403])
def test_what_is_not_for_everyone_says_what_to_do(server, tmp_path, status, monkeypatch):
    monkeypatch.delenv("TOY_TOKEN", raising=False)
    toy = asset(file(server, token="TOY_TOKEN"))
    server.status = status
    with pytest.raises(AssetError, match=r"accept the license at https://example.org/toy.*TOY_TOKEN.*not set"):
        download(toy, toy.files[0], tmp_path / "model.bin")
    assert left(tmp_path) == []


def test_other_refusals_name_the_homepage(server, tmp_path):
    toy = asset(file(server))
    server.status = 404
    with pytest.raises(AssetError, match=r"HTTP 404.*https://example.org/toy"):
        download(toy, toy.files[0], tmp_path / "model.bin")


def test_a_token_opens_the_door_and_goes_nowhere_else(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_TOKEN", "secret")
    toy = asset(file(server, token="TOY_TOKEN"), registration=True)
    server.token = "secret"
    assert download(toy, toy.files[0], tmp_path / "model.bin").sha256 == SUM
    other = _Server()
    thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        server.elsewhere = other.url
        assert download(toy, toy.files[0], tmp_path / "again.bin").sha256 == SUM
    finally:
        other.shutdown()
        other.server_close()
        thread.join()
    assert server.requests[-1]["Authorization"] == "Bearer secret"
    assert "Authorization" not in other.requests[-1]


def test_offline_is_said(tmp_path):
    toy = asset(AssetFile("model.bin", url="http://127.0.0.1:9/model.bin"))
    with pytest.raises(AssetError, match=r"cannot download .* or download it elsewhere and put it at"):
        download(toy, toy.files[0], tmp_path / "model.bin")


def test_a_full_disk_is_seen_before(server, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    toy = asset(file(server))
    with pytest.raises(AssetError, match="INSTAX3D_ASSETS"):
        download(toy, toy.files[0], tmp_path / "model.bin")
    assert server.requests == []


def test_a_place_that_cannot_be_written_is_said(server, tmp_path):
    (tmp_path / "taken").write_text("a file")
    toy = asset(file(server))
    with pytest.raises(AssetError, match="INSTAX3D_ASSETS"):
        download(toy, toy.files[0], tmp_path / "taken" / "model.bin")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../x",
        "/etc/passwd",
        "a//b",
        "a/../b",
        "con",
        "NUL.txt",
        "a\\b",
        "c:x",
        ".hidden",
        "a/./b",
        "x. ",
        "é",
        "x.",
    ],
)
def test_names_that_are_not_safe_on_every_disk_are_refused(name):
    with pytest.raises(ValueError, match="safe on every system"):
        AssetFile(name)


def test_an_asset_that_makes_no_sense_is_refused(server):
    with pytest.raises(ValueError, match="differ only in case"):
        asset(AssetFile("a.bin"), AssetFile("A.bin"))
    with pytest.raises(ValueError, match="not an asset name"):
        asset(name="../up")
    with pytest.raises(ValueError, match="not a SHA-256"):
        AssetFile("a.bin", sha256="1234")
    with pytest.raises(ValueError, match="not an http or https URL"):
        AssetFile("a.bin", url="file:///etc/passwd")


def test_an_unknown_sum_is_believed_once(server, monkeypatch, capsys):
    known(monkeypatch, asset(file(server, sha256=None)))
    assert main(["assets", "get", "toy-net"]) == 0
    assert "not known; this one was recorded" in capsys.readouterr().out
    path = require("toy-net").path
    path.write_bytes(BODY[::-1])
    with pytest.raises(AssetError, match="has changed since it was first used"):
        require("toy-net")
    with pytest.raises(AssetError, match="has changed"):
        require("toy-net")
    assert main(["assets", "check", "toy-net"]) == 1
    assert main(["assets", "check", "toy-net", "--accept"]) == 0
    assert require("toy-net").path == path


def test_sums_of_unchanged_files_are_not_computed_again(tmp_path, monkeypatch):
    path = tmp_path / "large.bin"
    path.write_bytes(BODY)
    ledger = Ledger(tmp_path)
    assert ledger.sum_of(path, keep_first=True) == SUM
    monkeypatch.setattr("instax3d.assets.ledger.sha256", lambda _: pytest.fail("read again"))
    assert ledger.sum_of(path, keep_first=True) == SUM
    ledger.path.write_text("{")
    with pytest.raises(AssetError, match="remove it"):
        ledger.sum_of(path, keep_first=True)


def test_many_first_uses_at_once_are_all_written_down(tmp_path):
    paths = [tmp_path / f"{index}.bin" for index in range(64)]
    for index, path in enumerate(paths):
        path.write_bytes(bytes([index]))
    with ThreadPoolExecutor(16) as pool:
        sums = list(pool.map(lambda path: Ledger(tmp_path).sum_of(path, keep_first=True), paths))
    assert [Ledger(tmp_path).recorded(path) for path in paths] == sums


def test_the_first_sum_stays_although_another_process_was_first(tmp_path, monkeypatch):
    path, ledger = tmp_path / "model.bin", Ledger(tmp_path)
    path.write_bytes(b"first")

    def while_another_reads(file: Path) -> str:
        monkeypatch.undo()
        before = Ledger(tmp_path).sum_of(file, keep_first=True)
        file.write_bytes(b"second, longer")
        assert before != sha256(file)
        return sha256(file)

    monkeypatch.setattr("instax3d.assets.ledger.sha256", while_another_reads)
    ledger.sum_of(path, keep_first=True)
    assert ledger.recorded(path) == hashlib.sha256(b"first").hexdigest()


def test_a_users_own_file_may_change(tmp_path):
    path, ledger = tmp_path / "own.bin", Ledger(tmp_path)
    for body in (b"one", b"two!"):
        path.write_bytes(body)
        assert ledger.sum_of(path, keep_first=False) == hashlib.sha256(body).hexdigest() == ledger.recorded(path)


def test_what_is_absent_is_said_with_all_that_matters(server, monkeypatch):
    known(monkeypatch, asset(file(server), commercial=None, license="their own"))
    with pytest.raises(AssetError) as refused:
        require("toy-net")
    for word in ("toy network", "1.0 MB", "https://example.org/toy", "their own", "not known", "assets get toy-net"):
        assert word in str(refused.value)
    with pytest.raises(AssetError, match="did you mean 'toy-net'"):
        require("toy-nut")


def test_a_users_own_copy_may_lie_anywhere(server, tmp_path, monkeypatch):
    known(monkeypatch, asset(file(server)), asset(AssetFile("a.bin"), AssetFile("sub/b.bin"), name="pair"))
    (tmp_path / "mine.bin").write_bytes(b"other")
    assert require("toy-net", tmp_path / "mine.bin").path == tmp_path / "mine.bin"
    with pytest.raises(AssetError, match="does not exist"):
        require("toy-net", tmp_path / "nosuch")
    with pytest.raises(AssetError, match="has several"):
        require("pair", tmp_path / "mine.bin")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.bin").touch()
    with pytest.raises(AssetError, match=r"does not hold a\.bin"):
        require("pair", tmp_path)
    (tmp_path / "a.bin").touch()
    assert require("pair", tmp_path).path == tmp_path


def test_registration_is_explained_in_steps(monkeypatch, capsys):
    known(monkeypatch, asset(AssetFile("model.bin"), registration=True))
    assert main(["assets", "get", "toy-net"]) == 2
    shown = capsys.readouterr().out
    assert "1. open https://example.org/toy, register and accept the license" in shown
    assert f"put it at {asset_folder('toy-net') / 'model.bin'}" in shown
    (asset_folder("toy-net")).mkdir(parents=True)
    (asset_folder("toy-net") / "model.bin").write_bytes(BODY)
    assert main(["assets", "get", "toy-net"]) == 0
    assert SUM in capsys.readouterr().out


def test_a_gated_file_is_not_asked_for_without_a_token(server, monkeypatch, capsys):
    monkeypatch.delenv("TOY_TOKEN", raising=False)
    known(monkeypatch, asset(file(server, token="TOY_TOKEN"), registration=True))
    assert main(["assets", "get", "toy-net"]) == 2
    assert "set TOY_TOKEN to it" in capsys.readouterr().out
    assert server.requests == []
    monkeypatch.setenv("TOY_TOKEN", "secret")
    server.token = "secret"
    assert main(["assets", "get", "toy-net"]) == 0


def test_assets_are_listed(server, monkeypatch, capsys):
    known(monkeypatch, asset(file(server)))
    assert main(["assets", "list"]) == 0
    assert "toy-net: a toy network" in capsys.readouterr().out
    assert main(["assets", "list", "--json"]) == 0
    listed = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    assert listed["toy-net"]["state"] == "can be downloaded"
    assert listed["toy-net"]["files"][0]["sha256"] == SUM


class _Options(PluginConfig):
    net: Annotated[str | None, AssetRef("toy-net")] = "toy-net"
    either: Annotated[str | None, AssetRef("toy-net", "toy-other")] = None


def with_options(config, **options):
    kind = Kind.LANDMARK_DETECTOR
    choice = PluginChoice(config.choices[kind].entry, _Options(**options))
    return type(config)(
        choices={**config.choices, kind: choice},
        training=config.training,
        output=config.output,
        seed=config.seed,
        device=config.device,
    )


def test_a_run_says_before_and_after_what_it_uses(server, tmp_path, monkeypatch):
    other = asset(AssetFile("o.bin"), name="toy-other", license="CC-BY-NC-4.0", commercial=False)
    known(monkeypatch, asset(file(server)), other)
    config = with_options(load_config(source="photo"))
    with pytest.raises(AssetError, match=r"landmark_detector\.net: toy-net is not here"):
        check_assets(config)
    assert main(["assets", "get", "toy-net"]) == 0
    check_assets(config)
    mine = [record for record in asset_records(config) if record["used_by"] == "landmark_detector.net"]
    assert mine == [
        {
            "used_by": "landmark_detector.net",
            "name": "toy-net",
            "license": "MIT",
            "license_url": "https://example.org/licence",
            "commercial": True,
            "files": [{"path": str(assets_dir() / "toy-net" / "model.bin"), "sha256": SUM, "revision": None}],
        }
    ]
    assert contents(_Options()) == [SUM]
    copy = tmp_path / "copy.bin"
    copy.write_bytes(BODY)
    both = with_options(config, net=None, either=str(copy))
    assert [r["name"] for r in asset_records(both) if r["used_by"] == "landmark_detector.either"] == ["toy-net"]
    copy.write_bytes(b"something else")
    assert [r["commercial"] for r in asset_records(both) if r["used_by"] == "landmark_detector.either"] == [None]
    assert asset_records(with_options(config, net=None))[0]["used_by"] != "landmark_detector.net"
    with pytest.raises(AssetError, match="or one of: toy-net, toy-other"):
        check_assets(with_options(config, either="nosuch"))


@pytest.mark.parametrize(
    ("license", "answer"),
    [("MIT", True), ("Apache-2.0", True), ("CC-BY-NC-SA-4.0", False), ("Stability NonCommercial", False), ("?", None)],
)
def test_licenses_are_judged_by_their_names(license, answer):
    assert allows_commercial(license) is answer


def test_the_verdict_on_a_portrait(tmp_path, capsys):
    plugin = {"name": "absgs", "distribution": "instax3d", "version": "1", "license": "Apache-2.0"}
    used = {"used_by": "x", "name": "n", "license": "MIT", "license_url": "", "commercial": True}
    manifest = {"instax3d": "1", "plugins": {"densifier": plugin}, "assets": [used]}
    (tmp_path / "run.json").write_text(json.dumps(manifest))
    assert main(["licenses", str(tmp_path)]) == 0
    assert "commercial use: yes" in capsys.readouterr().out
    assert verdict(list(parts({**manifest, "assets": [{**used, "commercial": None}]}))) is None
    assert verdict(list(parts({**manifest, "assets": [used, {**used, "commercial": False}]}))) is False
    baked = list(parts({**manifest, "rig": {"derived_from": ["n"]}}))
    assert "rig.npz is derived from it" in baked[-1].what, "it holds a part of the head model"
    del manifest["assets"]
    assert verdict(list(parts(manifest))) is None, "an older run did not write down what it used"
    assert main(["licenses", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["commercial"] is True


def test_what_a_metric_names_is_told_too():
    config = load_config(source="photo", overrides=["metrics=[{plugin: pck, detector: dlib}]"])
    assert "metrics.pck.detector" in {record["used_by"] for record in asset_records(config)}
