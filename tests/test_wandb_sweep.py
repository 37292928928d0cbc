"""The example of a W&B sweep starts trainings, by the words that W&B's agent makes of it."""

from pathlib import Path

import yaml
from wandb.sdk.launch.sweeps import utils

from runs import composed

PATH = Path(__file__).parents[1] / "docs" / "wandb_sweep.yaml"


def words(sweep, chosen):
    """Puts the command together as the agent does."""
    known = utils.create_sweep_command_args({"args": {key: {"value": value} for key, value in chosen.items()}})
    known |= {"env": ["/usr/bin/env"], "program": [sweep["program"]]}
    found = []
    for word in utils.create_sweep_command(sweep["command"]):
        found += known[word[2:-1]] if word.startswith("${") else [word]
    return found


def test_the_command_that_the_agent_runs_is_one_that_hydra_reads():
    sweep = yaml.safe_load(PATH.read_text())
    chosen = {"model": "fcn32s", "optimizer.lr": 0.00012, "optimizer.head_lr_factor": 10, "data.jitter": 0.5}
    assert chosen.keys() == sweep["parameters"].keys()
    command = words(sweep, chosen)
    assert command[:4] == ["/usr/bin/env", "python", "-m", "fcnseg.train"]
    config = composed(*command[4:])
    assert config.model.name == "fcn32s"
    assert (config.optimizer.lr, config.optimizer.head_lr_factor, config.data.jitter) == (0.00012, 10, 0.5)
    assert (config.logger.name, config.data.name, config.trainer.max_steps) == ("wandb", "shapes", 400)


def test_what_it_optimises_is_what_a_run_logs():
    sweep = yaml.safe_load(PATH.read_text())
    assert sweep["metric"] == {"name": "val/mean_iu", "goal": "maximize"}
