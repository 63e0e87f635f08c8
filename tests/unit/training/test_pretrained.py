"""Pretrained weights: fetched over loopback, read from files, checked, adapted, stored, part of keys."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import pmbench as pm
from pmbench.builtin.backbones import BACKBONES
from pmbench.data import download as downloading
from pmbench.errors import DataError, StoreError, UnknownName, UsageError
from pmbench.metrics.builtin import METRICS
from pmbench.store.keys import CellSpec, Context
from pmbench.store.store import Store
from pmbench.training.bench import EngineBench
from pmbench.training.pretrained import Library, choose_weights, fill, tensors_digest


class TwoBlocks(pm.Encoder):
    def __init__(self, channels):
        blocks = [nn.Conv1d(4, 4, 1), nn.Conv1d(4, 6, 1)]
        maps = [pm.MapInfo(4, (1,)), pm.MapInfo(6, (1,))]
        super().__init__(nn.Conv1d(channels, 4, 3, padding=1), blocks, Mean(), maps, 6)


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(2)


def build(modality, size):
    return TwoBlocks(modality.channels)


def tail(kind, size, start, channels):
    return pm.tail_of(TwoBlocks(3), start, channels)


def convert(tensors):
    """The library calls stem and blocks `features.0` to `features.2`, and has a head."""
    modules = {"features.0": "stem", "features.1": "blocks.0", "features.2": "blocks.1"}
    named = {}
    for name, tensor in tensors.items():
        module, _, last = name.rpartition(".")
        if module != "head":
            named[f"{modules.get(module, module)}.{last}"] = tensor
    return named


def of_library():
    """A state dict with the names of the library."""
    rng = torch.Generator().manual_seed(1)
    shapes = {"features.0": (4, 3, 3), "features.1": (4, 4, 1), "features.2": (6, 4, 1), "head": (2, 6)}
    found = {}
    for name, shape in shapes.items():
        found[f"{name}.weight"] = torch.randn(shape, generator=rng)
        found[f"{name}.bias"] = torch.randn(shape[0], generator=rng)
    return found


def backbone(**urls):
    kinds = frozenset({"sequence"})
    made = pm.Backbone("net", kinds, frozenset({"pooled", "maps"}), "", 0, build, tail, 1)
    return dataclasses.replace(made, pretrained=pm.Pretrained(urls, convert) if urls else None)


class Signals(pm.Dataset):
    """Declarations without data."""

    name = "signals"
    summary = "two sequences"
    classes = ("a", "b")
    modalities = (
        pm.Modality("three", "sequence", (3, 8), "1", grid="t"),
        pm.Modality("one", "sequence", (1, 8), "1", grid="t"),
    )
    target = ("three",)
    privileged = ("one",)
    splits: ClassVar = {"split": pm.Split("train", "test", "validation")}
    default_protocol = "split"


@pytest.fixture
def served(tmp_path):
    """The folder `web`, the address of its server on loopback, and the requested paths."""
    folder, requests = tmp_path / "web", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, form, *args):
            requests.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()


def choose(text, tmp_path, net, other=None):
    store = Store(tmp_path / "store")
    return choose_weights(text, Signals(), {"three": net, "one": other or net}, store)


def kept(tmp_path, weights):
    return load_file(tmp_path / "store" / "pretrained" / f"{weights.digest}.safetensors")


def test_none_stores_nothing(tmp_path):
    for text in ("", "none", "three=none", "three=none,one=none"):
        assert choose(text, tmp_path, backbone()) == {}
    assert not (tmp_path / "store").exists()


def test_a_name_is_fetched_once_and_later_loaded_without_network(tmp_path, served):
    folder, address, requests = served
    torch.save(of_library(), folder / "net.pth")
    net = backbone(big=f"{address}/net.pth?download=1")
    first = choose("big", tmp_path, net)
    assert set(first) == {"three", "one"}
    assert len(set(first.values())) == 1
    assert first["three"].name == "big"
    assert torch.equal(kept(tmp_path, first["three"])["blocks.1.bias"], of_library()["features.2.bias"])
    assert requests == ["/net.pth?download=1"]
    (folder / "net.pth").unlink()
    assert choose("big", tmp_path, net) == first
    assert len(requests) == 1
    names = sorted(p.name for p in (tmp_path / "store" / "pretrained").iterdir())
    assert names == sorted([f"{first['three'].digest}.safetensors", "names"])


def test_a_name_is_fetched_again_when_a_library_has_another_version(tmp_path, served, monkeypatch):
    """The other version may name tensors differently."""
    folder, address, requests = served
    torch.save(of_library(), folder / "net.pth")
    net = dataclasses.replace(backbone(big=f"{address}/net.pth"), libraries=("numpy",))
    for version, times in (("1", 1), ("1", 1), ("2", 2), ("1", 2)):
        monkeypatch.setattr("importlib.metadata.version", lambda name, found=version: found)
        choose("big", tmp_path, net)
        assert len(requests) == times


def test_concurrent_callers_fetch_a_file_once(tmp_path, served):
    folder, address, requests = served
    torch.save(of_library(), folder / "net.pth")
    net = backbone(big=f"{address}/net.pth")
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: choose("three=big", tmp_path, net), range(3)))
    assert found[0]["three"].name == "big"
    assert found == found[:1] * 3
    assert requests == ["/net.pth"]


def test_a_lost_connection_is_resumed(tmp_path):
    """The digest in the file's name proves that the rest is of the same file."""
    torch.save(of_library(), tmp_path / "net.pth")
    content, requests = (tmp_path / "net.pth").read_bytes(), []

    class Dropping(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.headers.get("Range"))
            start = int(requests[-1][6:-1]) if requests[-1] else 0
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : None if start else 1000])

        def log_message(self, form, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dropping)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    digest = hashlib.sha256(content).hexdigest()[:8]
    net = backbone(big=f"http://127.0.0.1:{server.server_port}/net-{digest}.pth")
    with pytest.raises(UsageError, match="could not be fetched"):
        choose("big", tmp_path, net)
    assert choose("big", tmp_path, net)["three"].digest == tensors_digest(convert(of_library()))
    assert requests == [None, "bytes=1000-"]
    assert not list((tmp_path / "store" / "pretrained").glob("download-*"))
    server.shutdown()


def test_a_name_applies_to_the_backbones_that_offer_it(tmp_path, served):
    folder, address, _ = served
    torch.save(of_library(), folder / "net.pth")
    found = choose("big", tmp_path, backbone(big=f"{address}/net.pth"), other=backbone())
    assert set(found) == {"three"}
    with pytest.raises(UnknownName, match="'bug' of net; did you mean 'big'"):
        choose("bug", tmp_path, backbone(big=f"{address}/net.pth"))
    with pytest.raises(UnknownName, match="'big'"):
        choose("three=big,one=big", tmp_path, backbone(big=f"{address}/net.pth"), other=backbone())


def test_the_digest_does_not_depend_on_the_file_format(tmp_path, served):
    folder, address, _ = served
    torch.save({"epoch": 3, "state_dict": of_library()}, tmp_path / "a.pth")
    save_file(of_library(), tmp_path / "b.safetensors")
    save_file(convert(of_library()), tmp_path / "c=1.safetensors")
    torch.save(of_library(), folder / "net.pth")
    net = backbone(big=f"{address}/net.pth")
    texts = (
        str(tmp_path / "a.pth"),
        f"three={tmp_path / 'b.safetensors'}",
        str(tmp_path / "c=1.safetensors"),
    )
    digests = {choose(text, tmp_path, net)["three"].digest for text in (*texts, "big")}
    assert digests == {tensors_digest(convert(of_library()))}
    assert choose(texts[2], tmp_path, net)["three"].name == "c=1"
    other = of_library() | {"features.0.bias": torch.zeros(4)}
    save_file(other, tmp_path / "d.safetensors")
    assert choose(str(tmp_path / "d.safetensors"), tmp_path, net)["three"].digest not in digests


def test_one_file_per_modality(tmp_path):
    save_file(of_library(), tmp_path / "a.safetensors")
    save_file(of_library() | {"features.1.bias": torch.ones(4)}, tmp_path / "b.safetensors")
    net = backbone(big="http://127.0.0.1:9/never")
    text = f"three={tmp_path / 'a.safetensors'},one={tmp_path / 'b.safetensors'}"
    found = choose(text, tmp_path, net)
    assert [found[m].name for m in ("three", "one")] == ["a", "b"]
    assert found["three"].digest != found["one"].digest


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/net.pth", "http://nowhere.invalid/net.pth"])
def test_an_unreachable_server_is_reported_at_once(tmp_path, address):
    started = time.monotonic()
    with pytest.raises(UsageError) as caught:
        choose("big", tmp_path, backbone(big=address))
    assert time.monotonic() - started < 10
    assert caught.value.exit_code == 2
    for part in ("'big'", "'net'", address):
        assert part in caught.value.message
    assert "--weights none" in caught.value.hint
    assert "--weights FILE" in caught.value.hint
    assert not list((tmp_path / "store" / "pretrained").glob("download-*"))


def test_a_silent_server_times_out(tmp_path, monkeypatch):
    import socket

    monkeypatch.setattr(downloading, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/net.pth"
        with pytest.raises(UsageError, match="timed out"):
            choose("big", tmp_path, backbone(big=url))


def test_a_missing_file_and_a_wrong_digest_in_its_name(tmp_path, served):
    folder, address, _ = served
    with pytest.raises(UsageError, match="Error 404"):
        choose("big", tmp_path, backbone(big=f"{address}/net.pth"))
    torch.save(of_library(), folder / "net-00000000.pth")
    with pytest.raises(UsageError, match="00000000"):
        choose("big", tmp_path, backbone(big=f"{address}/net-00000000.pth"))
    right = hashlib.sha256((folder / "net-00000000.pth").read_bytes()).hexdigest()[:8]
    (folder / "net-00000000.pth").rename(folder / f"net-{right}.pth")
    assert choose("big", tmp_path, backbone(big=f"{address}/net-{right}.pth"))


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path(BOMBED),))


BOMBED = ""


def test_pickled_objects_are_not_executed(tmp_path):
    global BOMBED
    BOMBED = str(tmp_path / "bombed")
    torch.save({"state_dict": of_library(), "more": Bomb()}, tmp_path / "a.pth")
    with pytest.raises(DataError, match="cannot be read as tensors alone"):
        choose(str(tmp_path / "a.pth"), tmp_path, backbone())
    assert not Path(BOMBED).exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "cannot be read"), (b"not weights at all", "cannot be read"), (None, "does not exist")],
)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_files_that_are_not_weights_are_refused(tmp_path, name, content, problem):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((DataError, UsageError), match=problem):
        choose(str(tmp_path / name), tmp_path, backbone())


def test_layers_that_do_not_fit_are_named(tmp_path):
    wrong = convert(of_library())
    del wrong["blocks.0.weight"]
    wrong["blocks.7.weight"] = torch.zeros(1)
    wrong["blocks.1.bias"] = torch.zeros(5)
    save_file(wrong, tmp_path / "a.safetensors")
    with pytest.raises(UsageError) as caught:
        choose(str(tmp_path / "a.safetensors"), tmp_path, backbone())
    for part in (
        "missing layers: blocks.0.weight",
        "unexpected layers: blocks.7.weight",
        "other shapes: blocks.1.bias (file (5,), network (6,))",
    ):
        assert part in caught.value.message
    assert not list((tmp_path / "store").glob("pretrained/*.safetensors"))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_equal_input_channels_give_the_same_output(channels):
    tensors = convert(of_library())
    reference, encoder = TwoBlocks(3), TwoBlocks(channels)
    fill(reference, tensors, backbone(), 3, "here")
    fill(encoder, tensors, backbone(), channels, "here")
    x = torch.randn(2, 1, 8)
    expected, found = reference(x.repeat(1, 3, 1))[1], encoder(x.repeat(1, channels, 1))[1]
    torch.testing.assert_close(found, expected)
    mean = sum(tensors["stem.weight"][:, i] for i in range(3)) / 3
    for i in range(channels) if channels != 3 else ():
        torch.testing.assert_close(encoder.stem.weight[:, i], mean * 3 / channels)


@pytest.mark.parametrize("name", ["cnn1d-8", "cnn2d-8", "cnn3d-8"])
def test_equal_maps_in_a_tail_give_the_output_of_one(name):
    """The first block of these tails takes the joined maps; each map has weights of its own."""
    net = next(b for b in BACKBONES if b.name == name)
    kind = next(iter(net.kinds))
    shape = {"sequence": (3, 32), "image": (3, 16, 16), "clip": (3, 2, 16, 16)}[kind]
    encoder = net.build(pm.Modality("seen", kind, shape, "1"), net.size).eval()
    tail = net.tail(kind, net.size, 1, 3 * 8).eval()
    fill(tail, encoder.state_dict(), net, 3 * 8, "here", 1)
    with torch.no_grad():
        maps, pooled = encoder(torch.randn(2, *shape))
        torch.testing.assert_close(tail(torch.cat([maps[0]] * 3, 1))[1], pooled)


def test_only_the_input_layer_is_adapted():
    tensors = convert(of_library()) | {"blocks.0.weight": torch.zeros(4, 2, 1)}
    with pytest.raises(UsageError, match=r"blocks\.0\.weight"):
        fill(TwoBlocks(3), tensors, backbone(), 3, "here")


def test_layers_declared_fresh_may_be_missing():
    net = dataclasses.replace(backbone(), pretrained=pm.Pretrained({}, convert, fresh="blocks.1."))
    tensors = {n: t for n, t in convert(of_library()).items() if not n.startswith("blocks.1.")}
    encoder = TwoBlocks(3)
    before = encoder.blocks[1].weight.clone()
    fill(encoder, tensors, net, 3, "here")
    assert torch.equal(encoder.blocks[1].weight, before)
    assert torch.equal(encoder.blocks[0].weight, tensors["blocks.0.weight"])


def bench_with(stage, weights, tmp_path):
    nets = {m: dataclasses.replace(backbone(), weights=weights.get(m)) for m in ("three", "one")}
    prints = {
        part: dict.fromkeys(("three", "one", "labels", "index"), part) for part in ("train", "validation")
    }
    context = Context(
        Signals(),
        Signals().protocol("split"),
        prints,
        nets,
        pm.Recipe(),
        seed=0,
        metrics=(METRICS["accuracy"],),
    )
    return EngineBench(stage, context, 0, Store(tmp_path / "store")), context


def test_networks_start_from_pretrained_weights(tmp_path):
    save_file(of_library(), tmp_path / "a.safetensors")
    weights = choose(str(tmp_path / "a.safetensors"), tmp_path, backbone(big="http://127.0.0.1:9/"))
    both = pm.EarlyFusion(("three", "one"))
    bench, _ = bench_with(both, weights, tmp_path)
    library = of_library()
    assert torch.equal(bench.encoder("three").stem.weight, library["features.0.weight"])
    mean = library["features.0.weight"].mean(1, keepdim=True) * 3
    torch.testing.assert_close(bench.classifier("one").encoder.stem.weight, mean)
    torch.testing.assert_close(bench.encoder("three", fed="one").stem.weight, mean)
    fused = bench.fusion("three", "one")
    assert torch.equal(fused.tail.blocks[0].weight, library["features.2.weight"])
    assert torch.equal(fused.trunks["three"].blocks[0].weight, library["features.1.weight"])
    halves = torch.eye(4).repeat(1, 2) / 2
    assert torch.equal(fused.tail.stem.linear.weight, halves)
    half = {"three": weights["three"]}
    bench, _ = bench_with(both, half, tmp_path)
    assert not torch.equal(bench.fusion("three", "one").tail.blocks[0].weight, library["features.2.weight"])
    assert not torch.equal(bench.encoder("one").blocks[0].weight, library["features.1.weight"])


def test_keys_hold_the_weights_of_modalities_that_a_stage_reads(tmp_path):
    a, b = pm.Weights("a", "a" * 64), pm.Weights("b", "b" * 64)
    keys = [
        bench_with(pm.Stream("three"), chosen, tmp_path)[1].key(pm.Stream("three"))
        for chosen in (
            {},
            {"three": a},
            {"three": b},
            {"three": dataclasses.replace(a, name="other")},
            {"one": a},
        )
    ]
    assert keys[0] == keys[4]
    assert keys[1] == keys[3]
    assert len(set(keys)) == 3


def test_damaged_weights_are_refused(tmp_path):
    library, weights = Library(tmp_path), pm.Weights("a", tensors_digest(of_library()))
    library.keep(weights, of_library())
    assert set(library.load(weights)) == set(of_library())
    save_file(of_library() | {"head.bias": torch.zeros(2)}, library.path(weights.digest))
    with pytest.raises(StoreError, match="another digest"):
        library.load(weights)
    assert not library.path(weights.digest).exists()
    with pytest.raises(StoreError, match="cannot be used"):
        library.load(weights)


def test_a_spec_with_weights_is_hashable():
    spec = CellSpec("d", "p", (("m", "net"),), pm.Recipe(), 0, (("m", pm.Weights("a", "0" * 64)),))
    assert hash(spec) != hash(dataclasses.replace(spec, weights=()))


def test_a_label_names_the_weights():
    net = dataclasses.replace(backbone(), weights=pm.Weights("big", "0123456789abcdef"))
    assert net.label == "net (big 0123456789ab)"
    assert backbone().label == "net"


def test_weights_of_a_shared_store_are_read_and_never_changed(tmp_path):
    tensors = {"w": torch.ones(3)}
    weights = pm.Weights("ones", tensors_digest(tensors))
    own, shared = Store(tmp_path / "own", shared=tmp_path / "shared"), Store(tmp_path / "shared")
    Library.of(shared).keep(weights, tensors)
    library = Library.of(own)
    library.keep(weights, tensors)
    assert list(own.root.rglob("*.safetensors")) == []
    assert library.load(weights)["w"].tolist() == [1, 1, 1]
    path = library.path(weights.digest)
    path.write_bytes(b"damaged")
    with pytest.raises(StoreError, match="cannot be used"):
        library.load(weights)
    assert path.read_bytes() == b"damaged"
