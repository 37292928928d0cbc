"""A folder of your own images as the README describes it: discs and squares on noise, each image with its mask."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("background", "disc", "square")


def write_toy(root: Path, count: int = 12) -> Path:
    """Writes root/images/shot01.jpg ... and root/masks/shot01.png ...; returns root."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(1, count + 1):
        image, mask = toy(number)
        Image.fromarray(image).save(root / "images" / f"shot{number:02d}.jpg", quality=95)
        Image.fromarray(mask).save(root / "masks" / f"shot{number:02d}.png")
    return root


def toy(number: int, height: int = 72, width: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Draws a reddish disc (1) and a bluish square (2) on grey noise, and a frame of void (255) around the square."""
    rng = np.random.default_rng(number)
    image = rng.integers(90, 160, (height, width, 3)).astype(np.uint8)
    mask = np.zeros((height, width), np.uint8)
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - rng.integers(20, 50)) ** 2 + (columns - rng.integers(15, 35)) ** 2 < 14**2
    top, left = rng.integers(4, 40), rng.integers(55, 65)
    mask[top : top + 28, left : left + 28] = 255
    mask[top + 1 : top + 27, left + 1 : left + 27] = 2
    mask[disc] = 1
    image[mask == 1, 0] = 230
    image[mask == 2, 2] = 240
    return image, mask
