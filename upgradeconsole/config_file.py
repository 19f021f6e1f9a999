"""A file of the configuration: the installation's own, or the shipped example while there is none.

No Django.
"""

import os
from pathlib import Path
from typing import Final


class ConfigFile(os.PathLike[str]):
    """Stands for the own file from the moment on at which it is there, without a restart.

    From then on for good: an editor takes a file away for a moment when it saves, and whoever
    removes it for longer is told that it is missing. The example of somebody else's platform never
    takes the place of a file that was in force.
    """

    def __init__(self, own: Path, example: Path) -> None:
        self.own: Final = own
        self.example: Final = example
        self._came = False

    def __fspath__(self) -> str:
        """Return the file that counts now."""
        self._came = self._came or self.own.exists()
        return os.fspath(self.own if self._came else self.example)

    def __str__(self) -> str:
        return os.fspath(self)
