"""Croissant 1.0 metadata of prepared data sets: files with digests, classes, ids, and shapes of arrays."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from ...data.prepared import Prepared

CONFORMS = "http://mlcommons.org/croissant/1.0"
_TERMS = (
    "citeAs column dataType equivalentProperty extract field fileObject fileProperty fileSet format includes "
    "isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace "
    "samplingRate separator source subField transform"
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    **{term: f"cr:{term}" for term in _TERMS.split()},
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
}
KINDS = {".npy": "application/x-npy", ".arrow": "application/vnd.apache.arrow.file"}
"""Encoding formats that the standard library does not know."""


def croissant(prepared: Prepared) -> dict[str, Any]:
    """The metadata; paths of files are relative to the folder of the prepared data.

    Each file of a part is a `cr:FileObject`. The record sets are the classes, the ids of each part, and for
    every other file one field with its content: row i belongs to id i.
    """
    dataset = prepared.dataset
    protocol = dataset.protocol(dataset.default_protocol)
    about = (
        f"{dataset.summary}. Target: {', '.join(protocol.target)}; privileged: "
        f"{', '.join(protocol.privileged)}. Prepared by pmbench: an array for each modality and part, whose "
        "row i belongs to id i of the part."
    )
    identity = dataset.name.replace("/", "-")
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "@id": identity,
        "conformsTo": CONFORMS,
        "name": identity,
        "description": about,
        "version": f"{dataset.version}.0.0",
        "license": dataset.licence,
        "url": dataset.source,
        "citeAs": dataset.citation,
        "keywords": ["privileged information", "multimodal", *(m.name for m in dataset.modalities)],
        "isLiveDataset": False,
        "distribution": list(_files(prepared)),
        "recordSet": [_classes(prepared), *_ids(prepared), *_arrays(prepared)],
    }


def _files(prepared: Prepared) -> Iterator[dict[str, Any]]:
    for part, entry in prepared.manifest["parts"].items():
        for name, file in entry["files"].items():
            suffix = PurePosixPath(file["file"]).suffix
            kind = KINDS.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
            yield {
                "@type": "cr:FileObject",
                "@id": f"{part}-{name}",
                "name": f"{part}-{name}",
                "description": f"{_about(prepared, name)} of the part {part}",
                "contentUrl": file["file"],
                "contentSize": f"{file['bytes']} B",
                "encodingFormat": kind,
                "sha256": file["sha256"],
            }


def _about(prepared: Prepared, name: str) -> str:
    if name in ("labels", "index"):
        return {"labels": "class indices", "index": "ids and groups"}[name]
    modality = prepared.dataset.modality(name)
    return f"{name} ({modality.kind}, {' x '.join(map(str, modality.shape))}, {modality.unit})"


def _classes(prepared: Prepared) -> dict[str, Any]:
    fields = [("index", "sc:Integer", "class index, as in the labels"), ("name", "sc:Text", "class name")]
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "key": {"@id": "classes/index"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"classes/{n}",
                "name": f"classes/{n}",
                "description": text,
                "dataType": t,
            }
            for n, t, text in fields
        ],
        "data": [
            {"classes/index": index, "classes/name": name}
            for index, name in enumerate(prepared.dataset.classes)
        ],
    }


def _ids(prepared: Prepared) -> Iterator[dict[str, Any]]:
    for part in prepared.manifest["parts"]:
        source = {"fileObject": {"@id": f"{part}-index"}, "extract": {"jsonPath": "$.ids[*]"}}
        yield _record_set(f"{part}-ids", "id", "sc:Text", f"ids of the samples of the part {part}", source)


def _arrays(prepared: Prepared) -> Iterator[dict[str, Any]]:
    for part, entry in prepared.manifest["parts"].items():
        for name in entry["files"]:
            if name == "index":
                continue
            source = {"fileObject": {"@id": f"{part}-{name}"}, "extract": {"fileProperty": "content"}}
            text = f"{_about(prepared, name)}: {entry['count']} samples of the part {part}"
            kind = "sc:Integer" if name == "labels" else "sc:Float"
            yield _record_set(f"{part}-{name}-values", "content", kind, text, source)


def _record_set(identity: str, name: str, kind: str, text: str, source: dict[str, Any]) -> dict[str, Any]:
    field = {
        "@type": "cr:Field",
        "@id": f"{identity}/{name}",
        "name": f"{identity}/{name}",
        "description": text,
        "dataType": kind,
        "source": source,
    }
    return {
        "@type": "cr:RecordSet",
        "@id": identity,
        "name": identity,
        "description": text,
        "field": [field],
    }
