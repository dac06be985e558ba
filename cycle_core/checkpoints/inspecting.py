"""What a file is, in facts; and the same model in our layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import CheckpointError, CycleError, IncompleteError, InputError
from ..files.disk import sha256
from ..models.encoder import Encoder
from ..models.generator import Generator
from . import unsupported
from .native import in_words, save_model, with_article
from .reading import Contents, Format, read_file, refusal, reported
from .registry import formats_of

_USES = {
    "generator": "--generator, with codes and encoders of {styles} styles of {dimensions}",
    "encoder": "--encoder, with a generator of {styles} styles of {dimensions}",
    "delta": "--tuned, with the generator {original}",
    "code": "edit, tune, generate, with a generator of {styles} styles of {dimensions}",
    "direction": "--edit",
    "table of relevances": "--edit FILE:TEXT.npy:BETA, with the generator of its channels",
    "table of style statistics": "the table of relevances beside it",
    "detail": "--preset instant, with the generator {generator}",
    "landmarks": "finding faces",
    "identity": "losses and measures",
    "perceptual": "losses and measures",
    "fid": "bench --photos",
}


def inspect(path: str | Path) -> dict[str, Any]:
    """{"file", "bytes", "container", "holds": [facts of each thing in it]}, ready for JSON.

    Raises MissingFileError; CheckpointError for damaged files, those that nobody here knows, and
    those that ask for something to be run."""
    contents = read_file(path, strict=False)
    found = _found(contents)
    with reported(path):
        other = None if found else unsupported.name(contents)
    if contents.unknown and other is None:
        raise CheckpointError(refusal(contents))
    if not found and other is None:
        raise CheckpointError(
            f"{path} can be read, but holds nothing that is known here: choose another file."
        )
    with reported(path):
        holds = [_facts(contents, one) for one in found]
    return {
        "file": str(path),
        "bytes": Path(path).stat().st_size,
        "container": contents.container,
        "holds": holds or [{"kind": "nothing for this project", "format": other}],
    }


def convert(path: str | Path, out: str | Path, kind: str | None = None, **options: Any) -> str:
    """Write the generator or the encoder of a file in our layout, atomically; gives its kind.

    The metadata tell where it comes from, and the fingerprint of a generator. kind: "generator" or
    "encoder", for files that hold both. options: generator and architecture, as `load_encoder`.
    Raises MissingFileError, CheckpointError, InputError where it cannot be written."""
    contents = read_file(path)
    found = {one.kind: one for one in _found(contents) if one.kind in ("generator", "encoder")}
    if kind is None and len(found) > 1:
        raise InputError(
            f"{path} holds {' and '.join(map(with_article, found))}: say which one by its `kind`."
        )
    one = found.get(kind or next(iter(found), ""))
    if one is None:
        raise CheckpointError(f"{path} holds no {kind or 'generator and no encoder'} to convert.")
    if Path(out).suffix != ".safetensors":
        raise InputError(f"{out}: the name of a file in our layout ends in .safetensors.")
    with reported(path):
        model: Generator | Encoder = one.load(
            contents, **(options if one.kind == "encoder" else {})
        )
    facts = {"generator": model.generator_id} if isinstance(model, Encoder) else {}
    if isinstance(model, Generator):
        facts = {"fingerprint": model.fingerprint}
    metadata = {
        **{k: v for k, v in contents.metadata.items() if k not in ("kind", "config")},
        **facts,
        "source": f"{Path(path).name} ({one.name})",
        "source_version": _version(path),
        "source_sha256": sha256(path),
    }
    save_model(out, one.kind, model.config, model.state_dict(), metadata)
    return one.kind


def cached_conversion(path: str | Path, kind: str, allow: bool) -> Path:
    """The same model in our layout, NAME.KIND.safetensors beside the file; made if `allow`, and
    again when the file changes. Gives `path` itself where there is none and none may be made.

    Raises MissingFileError, CheckpointError as `convert`."""
    path = Path(path)
    if path.suffix == ".safetensors":
        return path
    cached = path.with_name(f"{path.name}.{kind}.safetensors")
    try:
        if read_file(cached).metadata.get("source_version") == _version(path):
            return cached
    except CycleError:
        pass  # none yet, or a broken one
    if not allow:
        return path
    try:
        convert(path, cached, kind)
    except InputError:  # a folder or a disk that takes no file: the original still opens
        return path
    return cached


def _found(contents: Contents) -> list[Format]:
    with reported(contents.path):
        return [] if contents.unknown else formats_of(contents)


def _facts(contents: Contents, one: Format) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": in_words(one.kind), "format": one.name}
    try:
        loaded = one.load(contents)
    except IncompleteError as error:  # a whole one, which a command opens with what it lacks
        return facts | {"missing": error.missing}
    if isinstance(loaded, Generator):
        facts |= {
            "resolution": loaded.resolution,
            **_shape(loaded.image_shape),
            "styles": loaded.num_ws,
            "dimensions": loaded.w_dim,
            "conditional": loaded.config.c_dim > 0,
        }
        if loaded.config.c_dim:
            facts["classes"] = loaded.config.c_dim
    if isinstance(loaded, Encoder):
        facts |= {
            "input size": loaded.config.input_size,
            "styles": loaded.config.num_ws,
            "dimensions": loaded.config.w_dim,
            "spaces": list(loaded.spaces),
            "stage": loaded.stage,
            "generator": loaded.generator_id or "not known",
        }
    if isinstance(loaded, Generator | Encoder):
        facts["parameters"] = sum(parameter.numel() for parameter in loaded.parameters())
    if isinstance(loaded, Generator):
        facts["fingerprint"] = loaded.fingerprint
        if loaded.notes:
            facts["notes"] = list(loaded.notes)
    facts |= one.describe(loaded)
    return facts | {"used with": _USES[one.kind].format_map(facts)}


def _shape(image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """What is unusual in the pictures of a generator."""
    channels, height, width = image_shape
    size = {} if height == width else {"picture": f"{width} x {height}"}
    kinds = {1: "grey", 2: "grey, alpha", 3: "RGB", 4: "RGBA"}
    return size | ({} if channels == 3 else {"channels": kinds[channels]})


def _version(path: str | Path) -> str:
    """Changes with the file."""
    status = Path(path).stat()
    return f"{status.st_size} {status.st_mtime_ns}"
