"""The nodes' texts in other languages."""

from __future__ import annotations

import json
import re

import node_texts
import pytest

ENGLISH = node_texts.leaves(json.loads(node_texts.NODE_DEFS.read_text()))
# numbers and ranges, files and folders, options and what else is typed: the same in any language
FIXED = r"(?<![\w.])-?\d[\d:+._-]*\d|(?<![\w.])-?\d+|\w+=\S+|\w+/\w+|\w+\.\w+|W\+|[A-Z]{2,}"


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
    for node_id, known in json.loads(node_texts.SNAPSHOT.read_text()).items():
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
def test_every_node_has_a_help_page_in_each_language(language):
    for node_id, entry in node_texts.translation(language).items():
        page = node_texts.page(node_id, language).read_text("utf-8")
        assert page == node_texts.translated_page(entry, language)


def test_the_editor_says_everything_in_each_language():
    from ast import literal_eval

    groups = (node_texts.ROOT / "nodes" / "attributes.py").read_text()
    table = literal_eval(groups[groups.index("{") : groups.index("\n}\n") + 2])
    wanted = {*table, *(label for labels in table.values() for label in labels.values())}
    panel = (node_texts.ROOT / "web" / "panel.js").read_text()
    wanted |= set(re.findall(r'\bt\("([^"]+)"', panel))
    text = (node_texts.ROOT / "web" / "texts.js").read_text("utf-8")
    for language in node_texts.LANGUAGES:
        part = text[text.index(f"  {language}: {{") :].split("\n  },", 1)[0]
        assert wanted <= set(re.findall(r'^    "([^"]+)": ".+",$', part, re.M)), language


def test_a_changed_text_loses_its_translations():
    """The command that renews the texts takes them out, so that the test above misses them."""
    before = {"A": {"name": "one", "tooltip": "two"}, "gone": {"name": "three"}}
    now = {"A": {"name": "one", "tooltip": "other"}, "new": {"name": "four"}}
    other = {"A": {"name": "eins", "tooltip": "zwei"}, "gone": {"name": "drei"}}
    assert node_texts.kept(now, before, other) == {"A": {"name": "eins"}, "new": {}}


def tokens(text: str) -> list[str]:
    return [token.strip(".,;:") for token in re.findall(FIXED, text, re.ASCII)]
