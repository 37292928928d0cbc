"""Lets Hydra find the experiments from any folder.

Hydra discovers plug-ins only in the namespace package `hydra_plugins`, and imports them for every Hydra
command of the environment, ours or not: nothing heavy may be imported here.
"""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from fcnseg.config import EXPERIMENTS_DIR


class FcnsegSearchPath(SearchPathPlugin):
    """Makes `-cn NAME` find experiments/NAME.yaml, installed or in a clone."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folder of experiments, last, so that it hides no other configuration.

        Args:
            search_path: the places where Hydra looks for a configuration, changed in place.
        """
        search_path.append(provider="fcnseg", path=f"file://{EXPERIMENTS_DIR}")
