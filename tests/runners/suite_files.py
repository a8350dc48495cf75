"""A folder of tiny task files: every kind of answer in seconds."""

from pathlib import Path

HEAD = """title: {title}
version: 1
stream: 910
dataset: {{name: sphere, dim: 3, train: 6, validation: 4, test: 4}}
model: {{name: wide, depth: 1, width: 5, activation: tanh}}
loss: mse
"""
CLAIMS = """method: {name: gd, learning_rate: {critical: 0.5}}
sweep: {method.learning_rate.critical: [0.25, 0.5]}
stop: {steps: 6}
seeds: 3
metrics: [train_loss]
claims:
  - id: small
    says: The loss is a number
    where: {method.learning_rate.critical: 0.5}
    threshold: {metric: train_loss, at_most: 1e6}
"""
FAILING = """
  - id: impossible
    says: The loss is negative
    where: {method.learning_rate.critical: 0.5}
    threshold: {metric: train_loss, at_most: -1e6}
"""
ARENA = """record: {every: 3}
metrics: [validation_loss, test_loss]
seeds: 3
leaderboard:
  metric: test_loss
  validation_metric: validation_loss
  target: 0.5
  reference: {method: gd, score: 0.5}
  budget: 36
  tune_seeds: 1
  methods: [gd, momentum]
"""
BROKEN = HEAD.replace("sphere, dim: 3", "gaussian_mixture, classes: 3, dim: 4").replace(
    "{{name: wide, depth: 1, width: 5, activation: tanh}}", "{{name: general_quadratic}}"
)  # a valid file whose model has one output and whose data have three


def write(folder: Path) -> Path:
    """Tasks `tiny/holds`, `tiny/fails`, `tiny/arena` and `broken/outputs`; returns the folder."""
    files = {
        "tiny/holds.yaml": HEAD.format(title="It holds") + CLAIMS,
        "tiny/fails.yaml": HEAD.format(title="It fails") + CLAIMS + FAILING.lstrip("\n"),
        "tiny/arena.yaml": HEAD.format(title="An arena") + ARENA,
        "broken/outputs.yaml": BROKEN.format(title="It cannot run")
        + "metrics: [{name: train_loss, at: start}]\nseeds: 1\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
