"""python -m fcnseg.dashboard EXPERIMENT: builds the W&B workspace and the report of an ablation from its YAML."""

import argparse
import json
from pathlib import Path

SCALES = ("full", "small")
"""What --scale may say."""


def main(arguments: list[str] | None = None) -> None:
    """Saves both in W&B, or writes what would be saved."""
    parser = argparse.ArgumentParser(prog="python -m fcnseg.dashboard", description=__doc__)
    parser.add_argument("experiment", help="a YAML file, or the name of one in experiments/")
    parser.add_argument("--scale", choices=SCALES, default="full", help="whose runs: scale=full (default) or small")
    parser.add_argument("--project", default="fcnseg", help="of W&B, as logger.project (default fcnseg)")
    parser.add_argument("--entity", help="user or team; W&B knows the default one of an account")
    parser.add_argument("--dry-run", action="store_true", help="save nothing, and print what would be saved as JSON")
    parser.add_argument("--out", type=Path, help="a file for that JSON")
    chosen = parser.parse_args(arguments)

    from fcnseg.messages import complained

    with complained():
        build(chosen.experiment, chosen.scale, chosen.project, chosen.entity, chosen.dry_run, chosen.out)


def build(
    experiment: str, scale: str, project: str, entity: str | None = None, dry_run: bool = False, out: Path | None = None
) -> None:
    """Builds workspace and report.

    Args:
        experiment: a YAML file, or the name of one.
        scale: full or small.
        project: of W&B.
        entity: user or team; None asks W&B.
        dry_run: save nothing.
        out: a file for what would be saved.

    Raises:
        FileNotFoundError, ValueError: as read_experiment, or there is no account, or wandb-workspaces is missing.
    """
    from fcnseg.reports.experiment import read_experiment

    try:
        from fcnseg.reports import dashboards
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("wandb_workspaces"):
            raise
        raise ValueError("this needs wandb-workspaces: pip install 'fcnseg[dashboard]'") from error

    told, saved = read_experiment(experiment), not (dry_run or out)
    owner = entity or (account() if saved else "ENTITY")
    workspace = dashboards.workspace(told, scale, owner, project)
    report = dashboards.report(told, scale, owner, project, saved)
    if saved:
        try:
            workspace.save()
            report.save()
        except Exception as error:  # no key, no project of that name, no answer
            raise ValueError(
                f"W&B does not take it ({error}): wandb login, --entity, --project, or --dry-run"
            ) from error
        print(f"workspace {workspace.url}\nreport    {report.url}")
        return
    named = {"workspace": workspace, "report": report}
    text = json.dumps({name: dashboards.specification(view) for name, view in named.items()}, indent=1)
    if out is None:
        print(text)
    else:
        out.write_text(text + "\n")


def account() -> str:
    """Returns the user or team that W&B knows this machine by.

    Raises:
        ValueError: it knows none.
    """
    import wandb

    wrong: object = "it names no default user or team; --entity does"
    try:
        if found := wandb.Api().default_entity:
            return str(found)
    except Exception as error:  # no key, no network, no answer
        wrong = error
    raise ValueError(f"W&B knows no account here ({wrong}): wandb login, or --dry-run, or --out FILE")


if __name__ == "__main__":
    main()
