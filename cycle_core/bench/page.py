"""Tables in documents: they stand between two comments, and are replaced as a whole."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..files.atomic import write_atomically


def put(text: str, path: str | Path, name: str) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- /NAME -->` of a Markdown file.

    Raises InputError where the file or one of the comments is missing."""
    path, first, last = Path(path), f"<!-- {name} -->", f"<!-- /{name} -->"
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    if page.count(first) != 1 or page.count(last) != 1:
        raise InputError(f"{path} does not have {first} and {last} once each: add both to it.")
    before, after = page.split(first)[0], page.split(last)[1]
    whole = f"{before}{first}\n{text.strip()}\n{last}{after}"
    write_atomically(path, lambda to: to.write_text(whole, encoding="utf-8"))
