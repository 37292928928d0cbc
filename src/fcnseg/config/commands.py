"""Roots of the primaries in conf/: what each command can be told."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from omegaconf import MISSING, OmegaConf

from fcnseg.config.images import DataConfig
from fcnseg.config.network import BackboneConfig, ModelConfig
from fcnseg.config.training import (
    EvaluationTrainerConfig,
    ExperimentConfig,
    LoggerConfig,
    LossConfig,
    OptimizerConfig,
    RecipeConfig,
    TrainerConfig,
)

Root = TypeVar("Root")


@dataclass
class TrainConfig:
    """Root of train.yaml and of every experiment."""

    model: ModelConfig = field(default_factory=ModelConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: DataConfig = field(default_factory=DataConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    row: str | None = None
    """Row of the experiment that this run is; its overrides are applied."""
    scale: str = "full"
    """full, or small: in minutes, with a light backbone and small images."""
    small: list[str] = field(default_factory=list)
    """Overrides of scale=small, before those of the experiment."""
    seed: int = 0
    """Of everything random."""
    init_from: str | None = None
    """Run folder or checkpoint of the coarser net; null finds the finished run of the same backbone, data, recipe and
    seed below runs, multirun or the neighbouring folders, where the recipe asks for one. Paper: Sec. 4.2."""


@dataclass
class EvaluateConfig:
    """Root of evaluate.yaml."""

    checkpoint: str = MISSING
    """A checkpoint that training wrote, or a run folder (then its last)."""
    data: DataConfig = field(default_factory=DataConfig)
    """Other data than the training's, wholly (data=...) or in part (data.root=...)."""
    trainer: EvaluationTrainerConfig = field(default_factory=EvaluationTrainerConfig)


@dataclass
class TestTimeConfig:
    """Views of each image whose probabilities are averaged; one alone is the image itself."""

    flip: bool = False
    """Left and right exchanged too, at every scale."""
    scales: list[float] = field(default_factory=lambda: [1.0])
    """Factors on both sides; images are resized to each, and the probabilities back, bilinearly."""


@dataclass
class VocServerConfig:
    """Which images VOC's server is sent."""

    root: str | None = None
    """The VOCdevkit folder."""
    year: str = "2012"
    """The devkit's."""
    split: str = "test"
    """A list in ImageSets/Segmentation; the server takes test alone, others let you try."""
    competition: str = "comp6"
    """comp5: trained on VOC's data alone; comp6: on any, such as ImageNet's or SBD's."""


@dataclass
class PredictConfig:
    """Root of predict.yaml."""

    checkpoint: str = MISSING
    """A checkpoint that training wrote, or a run folder (then its last)."""
    input: str | None = None
    """An image, a video, a folder, a pattern such as photos/*.jpg, or - for a list on standard input."""
    output: str = MISSING
    """Folder for masks, overlays, probabilities and predictions.json; it must be new or empty."""
    overwrite: bool = False
    """Remove what an earlier call wrote to output first."""
    image_side: Any = "training"
    """Resize the longer side to so many pixels for the net; training: as its training did; null: not at all. Masks have
    the image's own size all the same."""
    tile: Any = "auto"
    """Side of the squares that larger images are cut into, pixels; auto: what memory allows; null: never cut."""
    memory: float = 4.0
    """GiB that a forward pass may take with tile=auto."""
    batch_size: int = 1
    """Images of one size that are predicted together."""
    tta: TestTimeConfig = field(default_factory=TestTimeConfig)
    """Test-time augmentation."""
    probabilities: bool = False
    """Write an NPZ for each image or frame: [k, h, w] in float16 as the net saw it, and the classes' names."""
    overlays: bool = True
    """Draw the masks over their images, with a legend."""
    opacity: float = 0.6
    """Of the colours in overlays, 0..1."""
    frame_step: int = 1
    """Of a video, take one of so many frames."""
    voc_submission: bool = False
    """Predict a list of a VOC devkit in place of input, and pack the masks for VOC's server."""
    voc: VocServerConfig = field(default_factory=VocServerConfig)
    """The list, for voc_submission."""
    accelerator: str = "auto"
    """auto, cpu or gpu."""
    precision: str | None = None
    """null takes the training's."""
    progress: bool = True
    """Show a progress bar."""


@dataclass
class CheckConfig:
    """Root of check.yaml."""

    data: DataConfig = field(default_factory=DataConfig)
    """What is checked, both its training and its validation images; data.workers read at the same time."""
    progress: bool = True
    """Show a progress bar."""


@dataclass
class BoundConfig:
    """Root of bound.yaml, and of the experiment that lays bounds beside the paper's."""

    data: DataConfig = field(default_factory=DataConfig)
    """Whose validation masks are scored."""
    masks: str | None = None
    """A folder of PNGs with VOC's labels, in place of data: no images are needed."""
    factors: list[int] = field(default_factory=lambda: [128, 64, 32, 16, 8, 4])
    """Pixels from cell to cell. Paper: the bound on mean IU by stride."""
    scale: str = "full"
    """full, or small: 50 of the masks, evenly spread."""
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    """The table that the results belong to."""


@dataclass
class ShowConfig(TrainConfig):
    """Root of show.yaml: a training, of which the images are shown that it would see first."""

    n: int = 16
    """Number of images."""
    split: str = "train"
    """train, as augmented in training, or val."""
    side: int = 256
    """Longer side of each picture, pixels."""


def resolved(config: Any, schema: type[Root]) -> Root:
    """Returns a composed configuration as plain dataclasses.

    Args:
        config: a DictConfig, as Hydra composed it.
        schema: one of the roots above.

    Raises:
        ValueError: a value that must be given is not, a key was added that nothing reads (Hydra lets ``+`` do that), or
            the configuration is another command's, or a recipe gives something else for a list of numbers.
    """
    kind = OmegaConf.get_type(config)
    if kind is not None and not issubclass(kind, schema):
        command = kind.__name__.removesuffix("Config").lower()
        raise ValueError(f"this is a configuration of another command: run it with python -m fcnseg.{command}")
    if added := sorted(_added(config)):
        key, (known, *_) = added[0], [*get_close_matches(added[0], _known(config)), ""]
        raise ValueError(f"there is no key {key}" + (f"; did you mean {known}?" if known else ""))
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise ValueError(f"{missing[0]} must be set")
    if wrong := sorted(_no_numbers(config)):
        raise ValueError(f"{wrong[0]} must be a list of numbers, such as [0.7,1.5]")
    settings = OmegaConf.to_object(config)
    assert isinstance(settings, schema)
    return settings


def _nodes(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, set[str]]]:
    """Yields every part that has a schema: what its keys begin with, the part, and its keys by the schema."""
    schema = OmegaConf.get_type(config)
    if not is_dataclass(schema):
        return
    yield prefix, config, {each.name for each in fields(schema)}
    for key in config:
        if OmegaConf.is_config(config._get_node(key)) and not OmegaConf.is_missing(config, key):
            yield from _nodes(config._get_node(key), f"{prefix}{key}.")


def _added(config: Any) -> list[str]:
    return [f"{prefix}{key}" for prefix, node, known in _nodes(config) for key in node if key not in known]


def _no_numbers(config: Any) -> list[str]:
    """Finds interpolations that give something else for a list of numbers: of them OmegaConf checks scalars alone."""
    return [
        f"{prefix}{each.name}={value}"
        for prefix, node, _ in _nodes(config)
        for each in fields(cast(Any, OmegaConf.get_type(node)))
        if each.type == list[float] | None and OmegaConf.is_interpolation(node, each.name)
        if (value := node[each.name]) is not None
        if not OmegaConf.is_list(value) or not all(type(number) in (int, float) for number in value)
    ]


def _known(config: Any) -> list[str]:
    return [f"{prefix}{key}" for prefix, _, known in _nodes(config) for key in known]
