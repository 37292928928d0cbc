"""python -m fcnseg.heatmap: a convolutionalised classifier's map of one class over a photograph.

Paper: Sec. 3.1 and Fig. 2
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor


KEYS = {
    "image": "FILE, the photograph",
    "class": "an ImageNet class: its number 0..999, or a name such as 'tabby'",
    "backbone": "a classifier, such as vgg16 (default), caffenet, alexnet, googlenet, resnet50, squeezenet",
    "weights": "imagenet (default) or a FILE with the classifier's own weights",
    "normalization": "caffe or torchvision, for a FILE that does not say it",
    "mean": "[red,green,blue], where a FILE's mean differs",
    "side": "resize the image's longer side to so many pixels first",
    "padding": "zeros around the image in pixels; default: the classifier's own",
    "output": "PNG to write (default: IMAGE_CLASS.png in the working directory)",
}
"""What the command line may say, as KEY=VALUE."""


def main(arguments: list[str] | None = None) -> None:
    """Writes the picture and says which classes are strongest."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or {"-h", "--help"} & set(words):
        print("python -m fcnseg.heatmap image=FILE class=NAME [KEY=VALUE ...]\n")
        print("\n".join(f"  {key + '=':15}{meaning}" for key, meaning in KEYS.items()))
        return

    from fcnseg.messages import complained

    with complained():
        chosen = parsed(words)
        picture, path, lines = heatmap(chosen)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
        print("\n".join([*lines, f"heatmap       {path}"]))


def parsed(words: list[str]) -> dict[str, Any]:
    """Reads KEY=VALUE words.

    Raises:
        ValueError: an unknown key, or image or class is missing.
    """
    chosen: dict[str, Any] = dict.fromkeys(KEYS)
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in KEYS:
            raise ValueError(f"{word} is no KEY=VALUE; the keys are {', '.join(KEYS)}")
        chosen[key] = value
    for key in ("image", "class"):
        if chosen.get(key) is None:
            raise ValueError(f"{key} must be set: {key}={KEYS[key]}")
    for key, convert in (
        ("side", int),
        ("padding", _pixels),
        ("mean", _three),
    ):
        if chosen[key] is not None:
            try:
                chosen[key] = convert(chosen[key])
            except ValueError:
                raise ValueError(f"{key}={chosen[key]} cannot be read: {key}={KEYS[key]}") from None
    return chosen


def _pixels(text: str) -> int | str:
    return text if text == "same" else int(text)


def _three(text: str) -> list[float]:
    return [float(part) for part in text.strip("[]").split(",")]


def heatmap(chosen: dict[str, Any]) -> tuple["Image.Image", Path, list[str]]:
    """Runs the classifier over the whole image.

    Args:
        chosen: as KEYS.

    Returns:
        The photograph beside its heatmap, where to write it, and lines on the strongest classes.

    Raises:
        FileNotFoundError: image or weights that are not there.
        ValueError: an unknown class or backbone, an unreadable or too small image, weights that do not fit.
    """
    import torch

    from fcnseg.classifier import create_classifier, spread
    from fcnseg.weights.normalization import stated

    net = create_classifier(chosen.get("backbone") or "vgg16", chosen.get("padding")).eval()
    label, names = class_number(chosen["class"]), class_names()
    pixels = photograph(Path(str(chosen["image"])), chosen.get("side"))
    try:
        net.load(chosen.get("weights") or "imagenet", stated(chosen.get("normalization"), chosen.get("mean")))
    except (ValueError, FileNotFoundError) as error:
        # The keys are the trainings' ones without their group.
        raise type(error)(str(error).replace("backbone.", "").replace(" or init_from=PATH", "")) from error
    with torch.inference_mode():
        scores = net.scores(torch.from_numpy(pixels).permute(2, 0, 1)[None])
        shares = scores._replace(tensor=scores.tensor.softmax(1)[:, label : label + 1])
        heat = spread(shares, (pixels.shape[0], pixels.shape[1]))[0, 0]
    rows, columns = scores.tensor.shape[2:]
    path = Path(str(chosen.get("output") or f"{Path(str(chosen['image'])).stem}_{names[label].replace(' ', '-')}.png"))
    lines = [
        f"{rows} x {columns} places, one every {scores.grid.stride} pixels",
        f"{names[label]}: probability {float(shares.tensor.max()):.3f} at its strongest place",
        f"strongest     {', '.join(strongest(scores.tensor, names))}",
    ]
    return side_by_side(pixels, heat.numpy()), path, lines


def class_names() -> list[str]:
    """Returns the names of ImageNet's 1000 classes in the order that Caffe's and torchvision's nets share."""
    from torchvision.models import ResNet50_Weights

    return list(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


def class_number(said: Any) -> int:
    """Finds a class by number or by name, or by a part of the name that no other class has.

    Raises:
        ValueError: none or several fit; names the first that do.
    """
    names = class_names()
    text = str(said).strip().lower()
    if text.isdigit() and int(text) < len(names):
        return int(text)
    exact = [index for index, name in enumerate(names) if name.lower() == text]
    partial = exact or [index for index, name in enumerate(names) if text in name.lower()]
    if len(partial) == 1 or exact:
        return partial[0]
    if not partial:
        raise ValueError(f"class={said} is no class of ImageNet: give a number 0..999 or a name such as tabby")
    shown = ", ".join(f"{names[index]} ({index})" for index in partial[:8])
    raise ValueError(f"class={said} may be {shown}: give one of their numbers")


def photograph(path: Path, side: int | None) -> "np.ndarray":
    """Reads an image as RGB [h, w, 3], turned as its EXIF data say.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image, or ``side`` is not a number of pixels.
    """
    import numpy as np
    from PIL import Image, ImageOps

    if side is not None and side < 1:
        raise ValueError(f"side must be a number of pixels, not {side}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no image {path}")
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    if side is not None:
        factor = side / max(picture.size)
        picture = picture.resize((max(1, round(picture.width * factor)), max(1, round(picture.height * factor))))
    return np.array(picture)


def strongest(scores: "Tensor", names: list[str], count: int = 5) -> list[str]:
    """Names the classes with the highest probability anywhere on the map."""
    peaks = scores.softmax(1).amax((0, 2, 3))
    best = peaks.topk(count)
    return [f"{names[int(index)]} {float(value):.2f}" for value, index in zip(*best, strict=True)]


def side_by_side(pixels: "np.ndarray", heat: "np.ndarray") -> "Image.Image":
    """Draws the photograph, and beside it the photograph darkened where the class is not.

    Args:
        pixels: [h, w, 3].
        heat: [h, w] probabilities; the highest one is drawn brightest.
    """
    import numpy as np
    from PIL import Image

    share = (heat / max(float(heat.max()), 1e-12))[:, :, None]
    ramp = np.concatenate([np.clip(3 * share - start, 0, 1) for start in (0, 1, 2)], axis=2) * 255
    mixed = (0.35 + 0.65 * share) * (0.5 * pixels + 0.5 * ramp)
    gap = np.full((pixels.shape[0], 8, 3), 255)
    return Image.fromarray(np.concatenate([pixels, gap, mixed], axis=1).round().astype(np.uint8))


if __name__ == "__main__":
    main()
