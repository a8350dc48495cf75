"""Compiled training: seconds for 200 full-batch steps of eight seeds of a two-layer network."""

from pathlib import Path

TASK = Path(__file__).resolve().parent / "learning_rates.yaml"


class Training:
    """The first learning rate of `learning_rates.yaml`, n = 32, d = 10, width 64; compiled in `setup`."""

    timeout = 300
    version = "1"

    def setup(self) -> None:
        from .sweep import Sweep

        self.sweep = Sweep("smoke", rates=1)
        self.sweep.runner()

    def time_200_steps(self) -> None:
        self.sweep.runner()

    time_200_steps.version = version  # pyright: ignore[reportFunctionMemberAccess]
