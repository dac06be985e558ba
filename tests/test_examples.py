"""The example photos of the node pack: as they were rendered, and with faces that are found."""

from __future__ import annotations

import pytest

from cycle_core.errors import InputError
from cycle_core.faces.detect import detect
from cycle_core.images.examples import EXAMPLES, FRAMES, example

SHAPES = {"portrait": (1, 3, 480, 400), "group": (1, 3, 400, 640), "clip": (FRAMES, 3, 256, 320)}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_opens_and_its_faces_are_found(name):
    pictures = example(name)
    assert pictures.shape == SHAPES[name]
    assert float(pictures.abs().max()) <= 1
    assert len(detect(pictures[:1], "embedded")) == (3 if name == "group" else 1)


def test_the_clip_goes_on_at_its_beginning():
    clip = example("clip")
    steps = [float((clip[i] - clip[i - 1]).square().mean()) for i in range(len(clip))]
    assert steps[0] < 1.5 * max(steps[1:])


def test_another_name_is_refused():
    with pytest.raises(InputError, match="portrait, group, clip"):
        example("family")
