"""The FFHQ crop as a projection: points in space to the aligned picture."""

from __future__ import annotations

import numpy as np

DISTANCE = 13.0  # of the camera from the head, decimetres


def rotation(yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """Rotation [3,3]; positive yaw turns to the picture's right, positive pitch looks down."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return tilt @ turn @ nod


def ffhq_frame(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre and half axes (to the right, down) of the FFHQ crop.

    points [5,2]: picture-left eye, picture-right eye, nose, mouth corners, y down, any unit. The
    factor and the shift bring the crop of five points to that of 68 landmarks.
    """
    eyes = (points[0] + points[1]) / 2
    eye_to_eye = points[1] - points[0]
    eye_to_mouth = (points[3] + points[4]) / 2 - eyes
    x = eye_to_eye - eye_to_mouth[::-1] * np.array([-1, 1])
    x = x / np.linalg.norm(x)
    size = max(2 * np.linalg.norm(eye_to_eye), 1.8 * np.linalg.norm(eye_to_mouth)) * 1.0165
    x = x * size
    y = x[::-1] * np.array([-1, 1])
    centre = eyes + 0.1 * eye_to_mouth + y * (2 * 2.8 / 512)
    return centre, x, y


def project(points: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Points [N,3] on the image plane at distance 1 of a camera that looks along -z; y up."""
    d = points - camera
    return d[:, :2] / -d[:, 2:]


def crop_matrix(camera: np.ndarray, centre: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Clip matrix [4,4] (row convention: M @ p) whose picture is the crop ``centre`` +- x +- y.

    centre, x, y [2] are on the image plane at distance 1, y up.
    """
    plane = np.linalg.inv(np.stack([x, -y], 1))  # image plane to -1..1, y up
    near, far = 4.0, 60.0
    m = np.zeros((4, 4))
    m[:2, :2] = plane
    m[:2, 2] = plane @ centre  # times -z, below
    m[2, 2] = -(far + near) / (far - near)
    m[2, 3] = -2 * far * near / (far - near)
    m[3, 2] = -1.0
    # clip.xy = plane @ (p.xy - centre * (-z)) = plane @ p.xy + plane @ centre * z
    move = np.eye(4)
    move[:3, 3] = -camera
    return m @ move


def orthographic(direction: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """Clip matrix [4,4] of a light that shines from ``direction`` on a ball."""
    z = direction / np.linalg.norm(direction)
    up = np.array([0.0, 1.0, 0.0]) if abs(z[1]) < 0.9 else np.array([0.0, 0.0, -1.0])
    x = np.cross(up, z)
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    m = np.eye(4)
    m[:3, :3] = np.stack([x, y, -z / 1.6]) / radius
    m[:3, 3] = -m[:3, :3] @ centre
    return m
