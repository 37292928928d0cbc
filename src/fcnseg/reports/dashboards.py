"""An ablation in W&B: a workspace whose panels lie side by side, and a report with the paper's numbers, as code."""

from typing import Any

from wandb_workspaces import expr
from wandb_workspaces import workspaces as ws
from wandb_workspaces.reports import v2

from fcnseg.reports.experiment import SCORES, Experiment
from fcnseg.tracking.ledger import STEP_KEY
from fcnseg.tracking.tracker import GALLERY
from fcnseg.tracking.wandb_tracker import SUMMARIES

wr: Any = v2  # which does not name to type checkers what it exports

BEST = {field: f"val/{field}.{SUMMARIES[f'val/{field}']}" for field in SCORES}
"""{score: what W&B calls the best of a curve, whose summary is not its last value}."""

PINNED = [f"summary:{name}" for name in BEST.values()]
"""Columns beside the names of runs."""


def workspace(experiment: Experiment, scale: str, entity: str, project: str) -> Any:
    """Builds the workspace of an experiment's runs.

    Args:
        experiment: whose runs are shown, grouped by row.
        scale: full or small, as the runs have it.
        entity: user or team.
        project: of W&B.
    """
    runs = ws.RunsetSettings(
        filters=expr.And(expr.Metric("Group") == group(experiment, scale)),
        groupby=[expr.Metric("JobType")],
        pinned_columns=["run:displayName", *PINNED],
    )
    sections = [ws.Section(name=name, panels=panels, is_open=name == "Scores") for name, panels in all_panels().items()]
    name = f"{experiment.title} ({scale})"
    settings = ws.WorkspaceSettings(x_axis=STEP_KEY)
    return ws.Workspace(entity, project, name=name, sections=sections, settings=settings, runset_settings=runs)


def report(experiment: Experiment, scale: str, entity: str, project: str, saved: bool) -> Any:
    """Builds the report of an experiment.

    Args:
        experiment: whose runs are shown.
        scale: full or small.
        entity: user or team.
        project: of W&B.
        saved: whether it will be; W&B is then asked for the project, which must exist.
    """
    runs = wr.Runset(
        entity=entity if saved else "",
        project=project,
        name=group(experiment, scale),
        filters=expr.And(expr.Metric("Group") == group(experiment, scale)),
        groupby=["JobType"],
    )
    panels = all_panels()
    blocks = [
        wr.MarkdownBlock(text=introduction(experiment, scale)),
        wr.H2(text="Scores by row"),
        wr.PanelGrid(runsets=[runs], panels=[*bars(), *panels["Scores"]]),
        wr.H2(text="Training"),
        wr.PanelGrid(runsets=[runs], panels=[*panels["Training"], *panels["Machine"]]),
        wr.H2(text="Classes and pictures"),
        wr.PanelGrid(runsets=[runs], panels=[*panels["Classes"], *panels["Pictures"]]),
    ]
    title = f"{experiment.title} ({scale})"
    return wr.Report(
        project, entity=entity, title=title, description=experiment.claim or "", blocks=blocks, width="fluid"
    )


def group(experiment: Experiment, scale: str) -> str:
    """Returns the group in which a sweep of the experiment puts its runs."""
    return f"{experiment.name}/{scale}"


def bars() -> list[Any]:
    """Returns a panel for each score, the best of each run beside each other, mean over seeds."""
    return [
        wr.BarPlot(title=label, metrics=[wr.SummaryMetric(BEST[field])], groupby="JobType", groupby_aggfunc="mean")
        for field, label in SCORES.items()
    ]


def all_panels() -> dict[str, list[Any]]:
    """Returns the panels of curves and pictures by section."""
    return {
        "Scores": [curve(f"val/{field}", label) for field, label in SCORES.items()],
        "Training": [
            curve("train/loss", "training loss", log_y=True),
            curve("val/loss", "validation loss", log_y=True),
            curve("train/loss_per_pixel", "training loss per pixel", log_y=True),
            curve("train/grad_norm", "norm of the gradient", log_y=True),
            wr.LinePlot(title="learning rates", x=STEP_KEY, metric_regex="lr-.*"),
        ],
        "Classes": [wr.LinePlot(title="IU of each class", x=STEP_KEY, metric_regex="val/iu/.*")],
        "Machine": [
            curve("speed/images_per_s", "images per second"),
            curve("speed/data_wait", "share of the time that waits for images"),
            curve("memory/peak_gib", "peak memory, GiB"),
        ],
        "Pictures": [wr.MediaBrowser(title="validation images", media_keys=[GALLERY], num_columns=4)],
    }


def curve(name: str, title: str, log_y: bool | None = None) -> Any:
    """Returns a panel with one metric against steps."""
    return wr.LinePlot(title=title, x=STEP_KEY, y=[name], log_y=log_y)


def introduction(experiment: Experiment, scale: str) -> str:
    """Returns what the experiment asks, and what the paper found, as Markdown."""
    command = experiment.command + ("" if scale == "full" else f" scale={scale}")
    said = [
        experiment.claim,
        experiment.source and f"Source: {experiment.source}.",
        f"Made by `{command} logger=wandb`.",
    ]
    fields = [field for field in SCORES if any(field in numbers for numbers in experiment.paper.values())]
    if fields:
        lines = [["the paper", *(SCORES[field] for field in fields)], ["---"] * (len(fields) + 1)]
        lines += [
            [row, *(str(numbers.get(field, "")) for field in fields)] for row, numbers in experiment.paper.items()
        ]
        said.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(part for part in said if part)


def specification(view: Any) -> dict[str, Any]:
    """Returns a workspace or a report as W&B stores it."""
    content: dict[str, Any] = view._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    return content
