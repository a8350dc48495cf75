"""What every component of a kind must keep, in the suite or from a plug-in: the checks of `tangentbench check`."""
