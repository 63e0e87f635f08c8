"""Damages files at random, and reads them in a child process that may crash or hang.

As a program: reads lines of JSON, [kind, path], and answers each with one: "array", "refused", or the
traceback of another exception.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import subprocess
import sys
import time
import traceback
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

MEMORY = 6 << 30  # bytes of address space of the child
LIMIT_S = 30.0

# --- whole files -----------------------------------------------------------------------------------------


def write_all(folder: Path) -> dict[str, Path]:
    """Kind -> a small file of it."""
    import encoded
    import stored_rar
    from PIL import Image
    from pmbench_ntu.miniature import write_skeleton

    from pmbench.data.frames import Writer

    rng = np.random.default_rng(0)
    found: dict[str, Path] = {}

    def place(kind: str, name: str) -> Path:
        found[kind] = folder / kind / name
        found[kind].parent.mkdir(parents=True)
        return found[kind]

    pictures, tone = encoded.pictures(16), encoded.tone(0.6)
    for kind in ("mp4", "mp4, fragments", "mp4, mpeg4", "mkv", "webm", "ts", "avi", "avi, mjpeg", "mpg"):
        name, options = encoded.VIDEOS[kind]
        encoded.encode(place(f"video {kind}", name), pictures, tone, **options)
    encoded.encode(place("video gif", "v.gif"), pictures[:4], video="gif")
    for kind, (name, options) in encoded.SOUNDS.items():
        encoded.encode(place(f"sound {kind}", name), None, tone, **options)
    exif = Image.Exif()
    exif[0x112] = 7
    for ending in ("jpg", "png", "webp", "tiff", "bmp", "gif"):
        Image.fromarray(pictures[3]).save(place(f"image {ending}", f"i.{ending}"), exif=exif)
    Image.fromarray(pictures[3]).save(place("image progressive", "i.jpg"), progressive=True)
    Image.fromarray(rng.integers(0, 5000, (24, 32), np.uint16)).save(place("depth", "d1.png"))
    joints = rng.normal(0, 1, (4, 25, 12))
    joints[..., 11] = 2
    write_skeleton(place("skeleton", "s.skeleton"), [{"1": joint} for joint in joints])
    np.save(place("npy vector", "v.npy"), rng.normal(0, 1, 40).astype(np.float32))
    np.save(place("npy sequence", "s.npy"), rng.normal(0, 1, (3, 20)).astype(np.float32))
    lines = ["id,label,split,group,imu,state"]
    for n in range(8):
        for name in ("imu", "state"):
            (folder / "manifest").mkdir(exist_ok=True)
            np.save(folder / "manifest" / f"{name}{n}.npy", rng.normal(0, 1, 5).astype(np.float32))
        part = "test" if n > 5 else "train"
        lines.append(f"s{n},{'ab'[n % 2]},{part},g{n // 2},imu{n}.npy,state{n}.npy")
    found["manifest"] = folder / "manifest" / "manifest.csv"
    found["manifest"].write_text("\n".join(lines) + "\n")
    for codec in ("jpeg", "raw"):
        with place(f"frames {codec}", "f.arrow").open("wb") as file:
            writer = Writer(file, codec)
            for n in range(3):
                writer.add(pictures[n : n + 4], 25.0)
            writer.close()
    tree = {f"data/{n}.txt": rng.bytes(400) + bytes(400) for n in range(6)}
    with zipfile.ZipFile(place("archive zip", "a.zip"), "w", zipfile.ZIP_DEFLATED) as z:
        for name, content in tree.items():
            z.writestr(name, content)
    place("archive rar", "a.rar").write_bytes(stored_rar.archive(tree))
    source = folder / "tree"
    for name, content in tree.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    for kind, ending in (("tar", "tar"), ("gztar", "tar.gz"), ("bztar", "tar.bz2"), ("xztar", "tar.xz")):
        path = place(f"archive {ending}", f"a.{ending}")
        shutil.make_archive(str(path).removesuffix(f".{ending}"), kind, source, "data")
    return found


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three of: flipped bits, a truncation, an inserted block, a range of zeros, a range twice."""
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        size = len(content)
        if size < 2:
            break
        reach = min(size, 512) if rng.random() < 0.4 else size  # heads are short, and matter most
        start = int(rng.integers(0, reach))
        length = int(rng.integers(1, min(200, size)))
        match rng.choice(["flip", "cut", "insert", "zero", "twice"]):
            case "flip":
                changed = bytearray(content)
                for place in rng.integers(0, reach, int(rng.integers(1, 8))):
                    changed[place] ^= 1 << int(rng.integers(8))
                content = bytes(changed)
            case "cut":
                content = content[: int(rng.integers(1, size))]
            case "insert":
                content = content[:start] + rng.bytes(length) + content[start:]
            case "zero":
                content = content[:start] + bytes(length) + content[start + length :]
            case "twice":
                content = content[: start + length] + content[start:]
    return content


# --- readers ---------------------------------------------------------------------------------------------


def arrays(kind: str, path: Path) -> Iterator[np.ndarray]:
    """What the reader of a kind gives."""
    from pmbench import media
    from pmbench.builtin.local import Local
    from pmbench.builtin.local.reading import Reading, load, numbers

    match kind.split()[0]:
        case "video":
            media.frame_rate(path)
            yield from media.video_frames(path, (24, 32))
            if media.has_audio(path):
                yield media.sound(path)
        case "sound":
            yield load(path, Reading("sound", "sequence", (64, 1001), "dB", seconds=10.0))
        case "image":
            yield media.image(path, (24, 32))
        case "depth":
            yield from media.depth_frames(path.parent, (24, 32), "d*.png")
        case "skeleton":
            from pmbench_ntu.reading import skeleton

            yield skeleton(path)
        case "npy":
            yield np.nan_to_num(numbers(path))  # preparation checks that it is finite
        case "manifest":
            dataset = Local().named("x").at(path.parent)
            for _, part in dataset.read(path.parent):
                yield part.labels
        case "frames":
            from pmbench.data.frames import Frames

            frames = Frames(path)
            for sample, count in enumerate(frames.counts):
                yield from frames.read(sample, range(count))
        case "archive":
            from pmbench.data.unpack import unpacked

            with_files = unpacked(path, path.parent / "unpacked")
            yield np.array([file.stat().st_size for file in with_files.rglob("*")])
        case "crash":  # the last three show that a failure is noticed
            os.abort()
        case "hang":
            time.sleep(3600)
        case "mistake":
            yield np.zeros(1)[1:].reshape(2)


def answer(kind: str, path: Path) -> str:
    from pmbench.errors import PmbenchError

    try:
        for array in arrays(kind, path):
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
                return f"no array but {array!r}"
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                return "an array that is not finite"
    except PmbenchError:
        return "refused"
    except Exception:
        return traceback.format_exc()
    return "array"


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print do not disturb the answers
    for line in sys.stdin:
        kind, path = json.loads(line)
        print(json.dumps(answer(kind, Path(path))), file=out, flush=True)


class Child:
    """The child process, started again after a crash."""

    def __init__(self, limit: float = LIMIT_S) -> None:
        self._limit = limit  # seconds
        self._process: subprocess.Popen[str] | None = None

    def read(self, kind: str, path: Path) -> str:
        """The child's answer, or how it ended."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([kind, str(path)]) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], self._limit)
        line = process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        if ready:
            process.wait()
        self.close()
        return f"crashed: {process.returncode}" if ready else f"no answer after {self._limit:g} seconds"

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def run(folder: Path, count: int, seed: int) -> Mapping[str, Any]:
    """Reads `count` damaged files; returns counts of answers by kind, and (kind, number, answer) of failures.

    The number, with the seed, gives the same file again.
    """
    whole = write_all(folder / "whole")
    kinds = sorted(whole)
    counts: dict[str, dict[str, int]] = {kind: {"array": 0, "refused": 0} for kind in kinds}
    failures: list[tuple[str, int, str]] = []
    child = Child()
    try:
        for kind in kinds:
            if (found := child.read(kind, whole[kind])) != "array":
                failures.append((kind, -1, found))
        for number in range(count):
            kind = kinds[(number + seed) % len(kinds)]
            place = folder / "damaged"
            shutil.copytree(whole[kind].parent, place)
            path = place / whole[kind].name
            path.write_bytes(damaged(path.read_bytes(), np.random.default_rng([seed, number])))
            found = child.read(kind, path)
            if found in counts[kind]:
                counts[kind][found] += 1
            else:
                failures.append((kind, number, found))
                keep = folder / f"{seed}-{number}{path.suffix}"
                shutil.copy(path, keep)
            shutil.rmtree(place)
    finally:
        child.close()
    return {"counts": counts, "failures": failures}


if __name__ == "__main__":
    main()
