"""What every tracker does: it sends each value once, and never stops a training."""

from abc import abstractmethod
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from fcnseg.notice import warn
from fcnseg.tracking.ledger import Ledger, ledger_path
from fcnseg.visualize import Shown

PICTURES = 12
"""Validation images that are shown at every validation, always the same ones."""

GALLERY = "val/images"
"""Name of the pictures."""


class Legend(NamedTuple):
    """What the labels of masks mean.

    Attributes:
        classes: names in the order of their labels.
        void: label of pixels that belong to no class.
    """

    classes: tuple[str, ...]
    void: int


class Ending(NamedTuple):
    """What a tracker is told at the end of a run.

    Attributes:
        content: of results.json.
        shown: validation images with the last weights' predictions.
        legend: of their masks.
        folder: the run's.
    """

    content: Mapping[str, Any]
    shown: Sequence[Shown]
    legend: Legend
    folder: Path


class Tracker(Logger):
    """Takes what Lightning logs, and pictures. Whatever its service or the disk does, the training goes on.

    Attributes:
        folder: the run's.
        ledger: what was sent.
    """

    label: str
    """As it stands in messages."""
    key: str
    """As logger.name says it."""

    def __init__(self, folder: Path) -> None:
        """Takes up what was sent from this folder before; begins with ``start``."""
        super().__init__()
        self.folder = folder
        self.ledger = Ledger(ledger_path(folder, self.key))
        self._complained = False

    @property
    def name(self) -> str:
        """As logger.name says it."""
        return self.key

    @property
    def version(self) -> str:
        """The run's id at the service."""
        return self.ledger.id

    # ---- what is called, by the first process alone

    @rank_zero_only
    def start(self, facts: Mapping[str, Any], diff: str | None) -> None:
        """Begins, or goes on.

        Args:
            facts: the configuration and where the run comes from, as plain containers.
            diff: how the source differs from its commit, if it does.
        """
        self.attempt(lambda: self._start(facts, diff))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Does nothing; ``start`` has them all."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Sends what was not sent before."""
        fresh = self.ledger.fresh(metrics, step) if self.is_open else {}
        if not fresh:
            return

        def send() -> None:
            self._log(fresh, step)
            self.ledger.note(fresh, step)

        self.attempt(send)

    @rank_zero_only
    def show(self, shown: Sequence[Shown], legend: Legend, step: int) -> None:
        """Sends pictures of images beside truth and prediction."""
        if not self.is_open:
            return

        def send() -> None:
            self._show(shown, legend, step)
            self.ledger.note({GALLERY: None}, step)

        self.attempt(send)

    @rank_zero_only
    def end(self, ending: Ending) -> None:
        """Sends what is known of a finished run only."""
        if self.is_open:
            self.attempt(lambda: self._end(ending))

    def attempt(self, act: Callable[[], None]) -> None:
        """Does something that may fail; of several failures the first one is said."""
        try:
            act()
        except Exception as error:
            if not self._complained:
                self._complained = True
                warn(f"{self.label} misses something of this run, which goes on without: {_first_line(error)}")

    @property
    def is_open(self) -> bool:
        """Whether a run has begun that takes entries; what none takes is not noted as sent either."""
        return True

    # ---- what a tracker has to do

    @abstractmethod
    def _start(self, facts: Mapping[str, Any], diff: str | None) -> None: ...

    @abstractmethod
    def _log(self, metrics: Mapping[str, float], step: int | None) -> None: ...

    @abstractmethod
    def _show(self, shown: Sequence[Shown], legend: Legend, step: int) -> None: ...

    @abstractmethod
    def _end(self, ending: Ending) -> None: ...


def trackers(loggers: Sequence[Logger]) -> list[Tracker]:
    """Returns those loggers that people watch."""
    return [logger for logger in loggers if isinstance(logger, Tracker)]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
