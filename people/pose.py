"""Where the head is: turned about the neck, its eyes, and the five points of the crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import camera
from .mesh import Head
from .person import Person, smooth

PIVOT = np.array([0.0, 6.45, 0.15])  # the head turns about the top of the neck
BODY_SHARE = 0.25  # of the head's turn that the shoulders make
_HEAD_MIDDLE = np.array([0.0, 7.15, 0.55])
_HEAD_HALF = 1.3  # half the width of a view that shows the head, decimetres


@dataclass(frozen=True)
class View:
    """A camera that does not align: ``x, y`` is the head's middle on the picture (0 to 1, y down),
    ``size`` the share of the picture's width that 2.6 dm at the head fill, ``roll`` radians."""

    x: float = 0.5
    y: float = 0.5
    size: float = 1.0
    roll: float = 0.0
    distance: float = 13.0


@dataclass(frozen=True)
class Pose:
    """The head's place: ``turn`` [3,3] about PIVOT; eyes as matrices [4,4] of a unit ball."""

    turn: np.ndarray
    eyes: tuple[np.ndarray, np.ndarray]
    points: np.ndarray  # [5,3] of the crop

    def turned(self, points: np.ndarray) -> np.ndarray:
        """Points [N,3] of the unturned head in the world."""
        return PIVOT + (points - PIVOT) @ self.turn.T


class Poser:
    def __init__(self, head: Head) -> None:
        rest = head.rest
        body = np.unique(head.surface.quads["body"])
        lips = body[head.vertex_masks["lips"][body] > 0.5]
        self._corners = (lips[np.argmin(rest[lips, 0])], lips[np.argmax(rest[lips, 0])])
        middle = body[np.abs(rest[body, 0]) < 0.05]
        middle = middle[(rest[middle, 1] > 6.8) & (rest[middle, 1] < 7.2)]
        self._nose = middle[np.argmax(rest[middle, 2])]
        self._eye_rows = [
            np.unique(head.loose_faces[k]) for k in ("eye_right", "eye_left")
        ]  # in the picture's order: the person's right eye is on the left
        # The chin turns with the head though it is lower than the top of the neck.
        chin = 0.38 * smooth(0.40, 0.90, rest[:, 2])
        self._turns = smooth(5.70, 6.35, rest[:, 1] + chin)[:, None]

    def pose(self, v: np.ndarray, person: Person) -> tuple[np.ndarray, Pose]:
        """Morphed vertices [R,3] in the world, float32, and the pose."""
        turn = camera.rotation(person.yaw, person.pitch)
        body = camera.rotation(person.yaw * BODY_SHARE, 0.0)
        d = v - PIVOT
        posed = PIVOT + (d @ turn.T) * self._turns + (d @ body.T) * (1 - self._turns)
        # The gaze is given in the picture: the eyes turn back by what the head turned, in part.
        look = camera.rotation(
            np.clip(person.gaze[0] - 0.55 * person.yaw, -0.6, 0.6),
            np.clip(-person.gaze[1] - 0.5 * person.pitch, -0.45, 0.45),
        )
        eyes = []
        for rows in self._eye_rows:
            centre = v[rows].mean(0)
            m = np.eye(4)
            m[:3, :3] = turn @ look * np.linalg.norm(v[rows] - centre, axis=1).mean()
            m[:3, 3] = PIVOT + turn @ (centre - PIVOT)
            eyes.append(m)
        front = turn @ np.array([0, 0, 0.12])
        points = np.stack(
            [eyes[0][:3, 3] + front, eyes[1][:3, 3] + front, posed[self._nose]]
            + [posed[c] for c in self._corners]
        )
        return posed.astype(np.float32), Pose(turn, (eyes[0], eyes[1]), points)


def frame(pose: Pose, view: View | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The camera's place [3], the clip matrix [4,4] and the five points [5,2], 0 to 1 and y down.

    Without a view this is the FFHQ crop.
    """
    if view is None:
        eye = np.array([0.0, 7.2, camera.DISTANCE])
        flat = camera.project(pose.points, eye) * [1, -1]
        centre, x, y = camera.ffhq_frame(flat)
    else:
        middle = pose.turned(_HEAD_MIDDLE)
        eye = middle + np.array([0.0, 0.0, view.distance])
        flat = camera.project(pose.points, eye) * [1, -1]
        half = _HEAD_HALF / view.distance / view.size
        x = half * np.array([np.cos(view.roll), np.sin(view.roll)])
        y = half * np.array([-np.sin(view.roll), np.cos(view.roll)])
        centre = -(2 * view.x - 1) * x - (2 * view.y - 1) * y
    clip = camera.crop_matrix(eye, centre * [1, -1], x * [1, -1], y * [1, -1])
    places = ((flat - centre) @ np.linalg.inv(np.stack([x, y], 1)).T + 1) / 2
    return eye, clip, places.astype(np.float32)
