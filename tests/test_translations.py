"""The nodes' texts in other languages."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import node_texts
import pytest

from cycle_core.directions.files import list_directions
from cycle_core.files.assets import ASSETS

NODE_DEFS = json.loads(node_texts.NODE_DEFS.read_text())
ENGLISH = node_texts.leaves(NODE_DEFS)
SCHEMAS = json.loads(node_texts.SNAPSHOT.read_text())
# numbers and ranges, files and folders, options and what else is typed: the same in any language
FIXED = r"(?<![\w.])-?\d[\d:+._-]*\d|(?<![\w.])-?\d+|\w+=\S+|\w+/\w+|\w+\.\w+|W\+|[A-Z]{2,}"
CODE = re.compile(r"`([^`]+)`")
RULE = re.compile(r"[| -]+")  # below the head of a table
KINDS = {"": "paragraph", "- ": "item", "| ": "row"}
SENTENCE = re.compile(r'"([A-Z](?:[^"]* [^"]*|[^"]*\.))"')  # what a script has for people
EMPHASIS = re.compile(r"(?<!\*)\*{1,2}([^*\s][^*]*)\*{1,2}")


@pytest.fixture(params=node_texts.LANGUAGES)
def texts(request) -> dict[str, str]:
    return node_texts.leaves(node_texts.translation(request.param))


def test_every_text_is_translated(texts):
    assert list(texts) == list(ENGLISH)
    assert [at for at, text in texts.items() if text == ENGLISH[at] or not text.strip()] == []


def test_what_is_typed_and_every_number_came_through(texts):
    for at, english in ENGLISH.items():
        if at.endswith(("tooltip", "description")):
            lost = [token for token in tokens(english) if token not in texts[at]]
            assert not lost, f"{at}: {lost}"


def test_options_are_called_what_the_widget_calls_them(texts):
    for node_id, known in SCHEMAS.items():
        for one in known["inputs"]:
            at = f"{node_id}.inputs.{one['id']}.tooltip"
            for option in one.get("options", []):
                if re.search(rf"(?<![\w/]){re.escape(option)}(: |, )", ENGLISH[at]):
                    assert option in texts[at], f"{at}: {option}"


def test_a_tooltip_is_one_sentence():
    for place, text in ENGLISH.items():
        if ".inputs." in place and place.endswith(".tooltip"):
            assert re.search(r"[.] [A-Z]|:$", text) is None, f"{place}: {text}"
            assert text.endswith("."), f"{place}: {text}"


@pytest.mark.parametrize("language", node_texts.LANGUAGES)
def test_every_help_page_has_the_title_and_the_tables_of_its_language(language):
    for node_id, entry in node_texts.translation(language).items():
        page = node_texts.page(node_id, language).read_text("utf-8")
        assert page == node_texts.renewed(page, entry, language)


@pytest.mark.parametrize("node_id", SCHEMAS)
@pytest.mark.parametrize("language", node_texts.LANGUAGES)
def test_every_part_of_a_help_page_has_its_counterpart(language, node_id):
    """In its place and of its kind: what is typed as it is, and what has a name by that name."""
    english = parts(node_id, "en")
    there = parts(node_id, language)
    assert [kind for kind, _ in there] == [kind for kind, _ in english]
    options = {x for one in SCHEMAS[node_id]["inputs"] for x in one.get("options", [])}
    nodes = names_of_nodes(language)
    names = nodes | panel_texts(language) | names_of_ends(node_id, language)
    names = {name: other for name, other in names.items() if name not in options}
    for (kind, text), (_, translated) in zip(english, there, strict=True):
        assert (translated != text) == (kind != "code" or "  " in text), text
        if kind == "code":  # what is typed, and what it means
            assert translated.split("  ")[0] == text.split("  ")[0]
            continue
        code: list[str] = CODE.findall(text)
        emphasised: list[str] = EMPHASIS.findall(text)
        wanted = sorted(names.get(one, one) for one in code)
        assert sorted(CODE.findall(translated)) == wanted, translated
        assert len(EMPHASIS.findall(translated)) == len(emphasised), translated
        wanted = {names.get(one, one) for one in emphasised if one in names or one in options}
        assert wanted <= set(EMPHASIS.findall(translated)), translated
        for name in nodes:
            if " " in name and re.search(rf"\b{name}\b", text):
                assert nodes[name] in translated, translated


def test_the_front_end_says_everything_in_each_language():
    groups = assigned("attributes.py", "GROUPS")
    wanted = {*groups, *(label for labels in groups.values() for label in labels.values())}
    wanted |= {one.meaning for one in list_directions(ASSETS / "directions.safetensors")}
    wanted |= {assigned("editor.py", "NOTHING_KNOWN"), "Connected", "Other"}
    for script in scripts():
        wanted |= {*re.findall(r'\bt\(\s*"([^"]+)"', script), *re.findall(SENTENCE, script)}
    for language in node_texts.LANGUAGES:
        assert wanted - panel_texts(language).keys() == set(), language


def test_what_the_front_end_says_goes_through_the_translation():
    for script in scripts():
        for line in script.splitlines():
            for sentence in re.findall(SENTENCE, line):
                constant = re.search(r"const (\w+) = ", line)
                begin = constant[1] if constant else f'"{re.escape(sentence)}"'
                assert re.search(rf"\bt\(\s*{begin}", script), sentence


def test_a_changed_text_loses_its_translations():
    """The command that renews the texts takes them out, so that the test above misses them."""
    before = {"A": {"name": "one", "tooltip": "two"}, "gone": {"name": "three"}}
    now = {"A": {"name": "one", "tooltip": "other"}, "new": {"name": "four"}}
    other = {"A": {"name": "eins", "tooltip": "zwei"}, "gone": {"name": "drei"}}
    assert node_texts.kept(now, before, other) == {"A": {"name": "eins"}, "new": {}}


def tokens(text: str) -> list[str]:
    return [token.strip(".,;:") for token in re.findall(FIXED, text, re.ASCII)]


def parts(node_id: str, language: str) -> list[tuple[str, str]]:
    """(kind, text) of each heading, paragraph, item, row of a table and line of code in the prose
    of a help page."""
    prose = node_texts.prose(node_texts.page(node_id, language).read_text("utf-8"), language)
    found = []
    for block in re.split(r"\n\n+", prose):
        if block.startswith("    "):
            found += [("code", line.strip()) for line in block.split("\n")]
            continue
        start = re.match(r"#+ |- |\| |", block)
        assert start
        kind = KINDS.get(start[0], "heading")
        texts = [block] if kind in ("heading", "paragraph") else re.split(r"\n(?=- |\| )", block)
        found += [(kind, " ".join(text.split())) for text in texts if not RULE.fullmatch(text)]
    return found


def names_of_ends(node_id: str, language: str) -> dict[str, str]:
    """The English names of a node's inputs and outputs -> those of a language."""
    english, other = NODE_DEFS[node_id], node_texts.translation(language)[node_id]
    return {
        one["name"]: other[ends][key]["name"]
        for ends in ("inputs", "outputs")
        for key, one in english[ends].items()
    }


def names_of_nodes(language: str) -> dict[str, str]:
    """The same of the nodes, without what is in brackets."""
    other = node_texts.translation(language)
    return {
        english["display_name"].partition(" (")[0]: other[k]["display_name"].partition("（")[0]
        for k, english in NODE_DEFS.items()
    }


def assigned(module: str, name: str) -> Any:
    """What a module of the nodes, which needs a host to be imported, assigns to a name."""
    for one in ast.parse((node_texts.ROOT / "nodes" / module).read_text()).body:
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == name:
            return ast.literal_eval(one.value)
    raise KeyError(name)


def scripts() -> list[str]:
    """Those of the front end without their comments."""
    files = [path for path in (node_texts.ROOT / "web").glob("*.js") if path.stem != "texts"]
    return [re.sub(r"/\*[\s\S]*?\*/|//.*", "", path.read_text("utf-8")) for path in files]


def panel_texts(language: str) -> dict[str, str]:
    text = (node_texts.ROOT / "web" / "texts.js").read_text("utf-8")
    part = text[text.index(f"  {language}: {{") :].split("\n  },", 1)[0]
    return dict(re.findall(r'^    "([^"]+)": "(.+)",$', part, re.M))
