"""Environments of the packages that the targets compare with: `python -m benchmarks.foreign.setup FOLDER [NAME…]`.

Each is a virtual environment of its own, since they do not import on the JAX and numpy of today. Installed by pip as it
is configured on this machine.
"""

import argparse
import subprocess
import venv
from pathlib import Path

ENVIRONMENTS = {
    "neural_tangents": ["jax==0.4.23", "jaxlib==0.4.23", "numpy<2", "scipy<1.13", "frozendict", "absl-py"],
    "torch": ["torch", "numpy", "scipy", "curvlinops-for-pytorch==3.0.1", "setuptools"],
}
"""What each environment is made of."""

WITHOUT_REQUIREMENTS = {"neural_tangents": ["neural-tangents==0.6.5"], "torch": ["pyhessian==0.1"]}
"""What is installed without what it asks for: TensorFlow for a converter, and torchvision for an example."""


def python(folder: Path, name: str) -> Path:
    """The interpreter of an environment."""
    return folder / name / "bin" / "python"


def install(folder: Path, name: str) -> None:
    """Makes one environment in `folder`. CalledProcessError where pip fails."""
    venv.create(folder / name, with_pip=True, clear=True)
    pip = [str(python(folder, name)), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *ENVIRONMENTS[name]], check=True)
    subprocess.run([*pip, "--no-deps", *WITHOUT_REQUIREMENTS[name]], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the environments of other packages.", allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENVIRONMENTS)}; default: all")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in ENVIRONMENTS]
    if unknown:
        parser.error(f"no environment {unknown[0]!r}; they are {', '.join(ENVIRONMENTS)}")
    for name in options.names or ENVIRONMENTS:
        install(options.folder, name)
        print(f"{name}: {python(options.folder, name)}")


if __name__ == "__main__":
    main()
