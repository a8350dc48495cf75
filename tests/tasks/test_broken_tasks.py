"""Every kind of mistake in a task file: where it is reported, in what words, and with which suggestion.

A case changes a valid file; `§` in the new text marks the place that the report must name.
"""

# ruff: noqa: E501 - a table

import pytest

from tangentbench.tasks.load import TaskFileError, load_task

TASK = """\
title: A broken task
paper: {arxiv: "2306.04815"}
version: 1
stream: 5
dataset: {name: monomial, dim: 20, train: 64, validation: 32, test: 100}
model: {name: wide, depth: 1, width: 64, activation: relu}
loss: mse
method: {name: sgd, batch_size: 16, learning_rate: {critical: 0.5}}
sweep:
  model.width: [16, 32, 64]
  method.batch_size: [8, 16]
stop: {steps: 200, train_loss: 1e-3}
record: {every: 10}
seeds: 8
metrics: [train_loss, test_loss, agop_alignment]
claims:
  - id: wider_is_better
    says: The test loss falls with the width
    where: {method.batch_size: 8}
    exponent: {metric: test_loss, along: model.width, within: [-2, -0.1]}
  - id: smaller_is_better
    says: A small batch has the lower test loss
    where: {model.width: 64}
    contrast: {metric: test_loss, between: [{method.batch_size: 8}, {method.batch_size: 16}], as: ratio, at_most: 0.9}
  - id: not_at_sixteen
    says: Not with large batches
    control: wider_is_better
    where: {method.batch_size: 16}
tiers:
  smoke: {seeds: 2, stop: {steps: 10}}
"""

ARENA = """\
title: A broken arena
version: 1
stream: 6
dataset: {name: monomial, dim: 20, train: 64, validation: 32, test: 100}
model: {name: wide, depth: 1, width: 64, activation: relu}
loss: mse
metrics: [test_loss, validation_loss]
leaderboard:
  metric: test_loss
  validation_metric: validation_loss
  target: 0.5
  reference: {method: gd, score: 0.5}
  budget: 6400
  tune_seeds: 2
"""

LABELLED = """\
title: A broken sweep of whole sections
version: 1
stream: 6
dataset: {name: digits, train: 8, test: 8, task: regression, reference: {width: 16}}
model: {name: wide, depth: 1, width: 8, activation: relu, init: {weights: 0.5}}
loss: mse
method: {name: gd, learning_rate: {critical: 0.5, second_critical: 0.25}}
sweep:
  dataset:
    - {label: plain, name: monomial, dim: 4, train: 8}
    - {label: noisy, name: monomial, dim: 4, train: 8, noise: 0.5}
  model.init: [{label: zero, weights: 1.0, output: zero}, {label: normal, weights: 1.0}]
  method.learning_rate: [{label: below, critical: 0.9, second_critical: 0}, {label: above, critical: 1, second_critical: 1}]
stop: {steps: 5}
metrics: [train_loss]
"""

REAL = """\
title: Broken real data
version: 1
stream: 6
dataset: {name: digits, train: 8, test: 8, task: regression, reference: {width: 16}}
model: {name: wide, depth: 1, width: 8, activation: relu}
loss: mse
method: {name: gd, learning_rate: {critical: 0.5, second_critical: 0.25}}
stop: {steps: 5}
metrics: [train_loss]
"""

RANKED = (
    ARENA.replace("[test_loss,", "[train_loss, agop_alignment, test_loss,")
    + """\
claims:
  - id: aligned_is_better
    says: The better aligned, the lower the test loss
    rank_correlation: {metric: test_loss, against: agop_alignment, at_most: -0.5}
  - id: not_the_training_loss
    says: Not the training loss
    control: aligned_is_better
    metric: train_loss
tiers:
  smoke: {leaderboard: {methods: [gd]}}
"""
)

SEARCH = """\
title: A broken search
version: 1
stream: 7
dataset: {name: single_example, dim: 2}
model: {name: general_quadratic, gamma: 1e-3}
loss: half_sse
method: {name: gd, learning_rate: {critical: 1.0}}
stop: {steps: 100, relative_loss: 1e-6}
bisect: {along: method.learning_rate.critical, between: [1, 3], tolerance: 0.01, leaves: [monotone]}
claims:
  - id: two
    says: The boundary is at two
    boundary: {within: [1.9, 2.1]}
"""

RECURSION = """\
title: A broken recursion
version: 1
stream: 8
dataset: {name: single_example, dim: 2}
model: {name: wide, depth: 1, width: 8, activation: relu, expansion: quadratic}
loss: half_sse
method: {name: gd, learning_rate: {critical: 1.0}}
stop: {steps: 100}
record: {every: 1}
metrics:
  - {name: tangent_kernel_norm, at: schedule}
  - {name: output, at: schedule}
  - recursion_error
"""

GRAPH = """\
title: A broken graph
version: 1
stream: 9
dataset: {name: sphere, dim: 3, target: noise, train: 4, validation: 0, test: 0}
model:
  name: dag
  activation: tanh
  edges:
    - [x0, a]
    - [x1, a]
    - [a, b]
    - [x2, b]
    - [b, 7]
    - [a, y0]
    - [7, y0]
loss: mse
stop: {steps: 0}
metrics: [{name: hessian_norm, at: start}]
"""

GENERATED = """\
title: A broken generator
version: 1
stream: 9
dataset: {name: sphere, dim: 3, target: noise, train: 4, validation: 0, test: 0}
model: {name: dag, activation: tanh, generator: {name: fully_connected, depth: 3, width: 8}}
loss: mse
stop: {steps: 0}
metrics: [{name: hessian_norm, at: start}]
"""

CONVOLUTION = """\
title: A broken convolution
version: 1
stream: 9
dataset: {name: sphere, dim: 9, target: noise, train: 4, validation: 0, test: 0}
model: {name: conv, depth: 2, channels: 4, activation: tanh}
loss: mse
stop: {steps: 0}
metrics: [{name: hessian_norm, at: start}]
"""

METRICS = "metrics: [train_loss, test_loss, agop_alignment]"
EXPONENT = "exponent: {metric: test_loss, along: model.width, within: [-2, -0.1]}"

CASES = {
    # the file
    "empty": (TASK, TASK, "§", "the file is empty", "`tangentbench new task NAME` writes one"),
    "not a mapping": (TASK, TASK, "§- a\n- b\n", "a task file is a mapping", ""),
    "tab": (TASK, "  smoke:", "§\tsmoke:", "tab in the indentation", "indent with spaces"),
    "control character": (TASK, "A broken", "A §\0broken", "control character U+0000", "remove it"),
    "two documents": (TASK, "tiers:", "§---\ntiers:", "a second document starts here", "one task per file"),
    "unclosed": (TASK, "{critical: 0.5}}\nsweep", "{critical: 0.5}\n§sweep", "not valid YAML", ""),
    "duplicate key": (TASK, "loss: mse", "loss: mse\n§loss: half_mse", "duplicate key 'loss'", "first given at line 7"),
    "merge key": (TASK, "loss: mse", "loss: mse\n§<<: {a: 1}", "merge key '<<' is not allowed", "tier override"),
    "tag": (TASK, "loss: mse", "loss: §!!python/name:os.system mse", "is not allowed", "remove the tag"),
    "octal": (TASK, "dim: 20", "dim: §020", "'020' is read differently by YAML 1.1 and 1.2", "write 20"),
    "underscores": (TASK, "steps: 200", "steps: §1_000", "'1_000' is read differently", "write 1000"),
    "infinity": (TASK, "train_loss: 1e-3", "train_loss: §.inf", "'.inf' is not a finite number", "leave the key out"),
    "number as key": (TASK, "loss: mse", "loss: mse\n§12: a", "a key must be text", 'write "12" in quotes'),
    "unknown alias": (TASK, "loss: mse", "loss: §*other", "alias '*other' has no anchor", ""),
    "own alias": (TASK, "seeds: 8", "seeds: &s [1, §*s]", "stands inside its own anchor", ""),
    "too deep": (TASK, "seeds: 8", "seeds: " + "[" * 31 + "§[" + "]" * 32, "nested deeper than 32 levels", ""),
    # keys and types
    "unknown key": (TASK, "loss: mse", "loss: mse\n§limts: {}", "unknown key 'limts'", "did you mean 'limits'?"),
    "missing key": (TASK, "title: A broken task\n", "§", "missing key 'title'", ""),
    "missing version": (TASK, "version: 1\n", "", "missing key 'version'", "write version: 1: Raised whenever"),
    "missing stream": (TASK, "stream: 5\n", "", "missing key 'stream'", "write stream: 1: Number of"),
    "unknown option": (TASK, "depth: 1,", "depth: 1, §widht: 3,", "unknown key 'widht'", ""),
    "unknown nested option": (
        TASK, "activation: relu", "activation: relu, init: {§ouput: zero}", "unknown key 'ouput'", "did you mean 'output'?",
    ),
    "missing option": (TASK, "{name: monomial, dim: 20, ", "§{name: monomial, ", "missing key 'dim'", ""),
    "missing name": (TASK, "{name: wide, ", "§{", "model: missing key 'name'", "known: wide, bottleneck"),
    "unknown dataset": (TASK, "monomial", "§monomal", "unknown dataset 'monomal'", "did you mean 'monomial'?"),
    "unknown model": (TASK, "name: wide", "name: §wdie", "unknown model 'wdie'", "did you mean 'wide'?"),
    "unknown loss": (TASK, "loss: mse", "loss: §msee", "unknown loss 'msee'", "did you mean 'mse'"),
    "unknown method": (TASK, "name: sgd", "name: §sdg", "unknown method 'sdg'", "did you mean 'sgd'"),
    "method in capitals": (TASK, "name: sgd", "name: §SGD", "unknown method 'SGD'", "did you mean 'sgd'?"),
    "metric as a key": (
        TASK, METRICS, "metrics: [test_loss, §{hessian_norm: {examples: 2}}]", "metric: missing key 'name'",
        "write {name: hessian_norm, examples: 2}",
    ),
    "method as a key": (
        TASK, "{name: sgd, batch_size: 16, learning_rate: {critical: 0.5}}", "§{sgd: {learning_rate: {critical: 0.5}}}",
        "method: missing key 'name'", "write {name: sgd, learning_rate: {critical: 0.5}}",
    ),
    "unknown metric": (TASK, "[train_loss, ", "[§train_los, ", "unknown metric 'train_los'", "did you mean 'train_loss'?"),
    "unknown choice": (
        TASK, "activation: relu", "activation: §rulu", "expected 'identity', 'relu', 'tanh', 'swish' or 'gelu'",
        "did you mean 'relu'?",
    ),
    "another name of a choice": (TASK, "activation: relu", "activation: §silu", "got the text 'silu'", "write swish"),
    "text for a number": (TASK, "dim: 20", "dim: §'20'", "'dim': expected a whole number, got the text '20'", "remove the"),
    "sexagesimal": (TASK, "dim: 20", "dim: §12:30", "expected a whole number, got the text '12:30'", ""),
    "float for a whole number": (TASK, "dim: 20", "dim: §20.0", "expected a whole number, got 20.0", "write 20"),
    "yes for true": (
        TASK, "activation: relu", "activation: relu, bias: §yes", "expected true or false, got the text 'yes'", "write true",
    ),
    "boolean for a number": (TASK, "dim: 20", "dim: §true", "expected a whole number, got true", ""),
    "number for text": (TASK, '"2306.04815"', "§2306.04815", "expected text, got 2306.04815", 'write "2306.04815" in quotes'),
    "scalar for a list": (
        TASK, "dim: 20,", "dim: 20, factors: §1,", "'factors': expected a list, got 1", "write [1]",
    ),
    "union": (TASK, "seeds: 8", "seeds: §many", "'seeds': expected a whole number or a list, got the text 'many'", ""),
    "inside a union": (TASK, "seeds: 8", "seeds: [1, §two]", "expected a whole number, got the text 'two'", ""),
    "mapping for a component": (TASK, "model: {name: wide, depth: 1, width: 64, activation: relu}", "model: §wide",
        "'model': expected a mapping, got the text 'wide'", ""),
    "null": (TASK, "loss: mse", "loss: §null", "'loss': expected text, got nothing", ""),
    "a number for a section": (
        TASK, "stop: {steps: 200, train_loss: 1e-3}", "stop: §200", "'stop': expected a mapping, got 200",
        "write {steps: 200}",
    ),
    "text for a section": (
        TASK, 'paper: {arxiv: "2306.04815"}', 'paper: §"2306.04815"', "'paper': expected a mapping",
        'write {arxiv: "2306.04815"}',
    ),
    "a longer paper number": (
        TASK, '"2306.04815"', '§"arXiv:2306.04815"', "expected the number of a paper on arXiv", 'write "2306.04815"',
    ),
    "text for a list of texts": (TASK, METRICS, "metrics: §test_loss", "'metrics': expected a list", "write [test_loss]"),
    "a mapping for a name": (TASK, "loss: mse", "loss: §{name: mse}", "'loss': expected text, got a mapping", "write mse"),
    "a misspelt key that a tier overrides": (
        TASK, "{steps: 200,", "{§stepps: 200,", "unknown key 'stepps'", "did you mean 'steps'?",
    ),
    # what the sweep replaces
    "base value too small": (TASK, "width: 64, ", "width: §-64, ", "'width' must be >= 1, got -64", ""),
    "base value of a wrong type": (TASK, "batch_size: 16, ", "batch_size: §sixteen, ", "expected a whole number", ""),
    "base list of a wrong type": (
        TASK, "width: 64, ", "width: [§64.0], ", "item 1 of 'width': expected a whole number, got 64.0", "write 64",
    ),
    "unknown key of a replaced rate": (
        LABELLED, "second_critical: 0.25", "§secnd_critical: 0.25", "unknown key 'secnd_critical'", "did you mean 'second_critical'?",
    ),
    "replaced rate of a wrong type": (LABELLED, "{critical: 0.5,", "{critical: §half,", "'critical': expected a number", ""),
    "replaced rate too large": (LABELLED, "{critical: 0.5,", "{critical: §5000,", "'critical' must be <= 1000, got 5000", ""),
    "replaced second rate too small": (
        LABELLED, "second_critical: 0.25", "second_critical: §-0.25", "'second_critical' must be >= 0, got -0.25", "write 0",
    ),
    "rate of which one number is replaced": (
        LABELLED.replace("method.learning_rate: [{label: below, critical: 0.9, second_critical: 0}, {label: above, critical: 1, "
        "second_critical: 1}]", "method.learning_rate.critical: [0.9, 1.1]"),
        "second_critical: 0.25", "§secnd_critical: 0.25", "unknown key 'secnd_critical'", "did you mean 'second_critical'?",
    ),
    "rate replaced by one in other units": (
        LABELLED.replace("method.learning_rate: [{label: below, critical: 0.9, second_critical: 0}, {label: above, critical: 1, "
        "second_critical: 1}]", "method.learning_rate.value: [0.1, 0.2]"),
        "{critical: 0.5,", "{critical: §half,", "'critical': expected a number", "",
    ),
    "unknown key of a replaced dataset": (LABELLED, "train: 8, test: 8", "§trian: 8, test: 8", "unknown key 'trian'", "'train'"),
    "unknown name of a replaced dataset": (LABELLED, "name: digits", "name: §digit", "unknown dataset 'digit'", "'digits'"),
    "replaced dataset that is no mapping": (
        LABELLED, "{name: digits, train: 8, test: 8, task: regression, reference: {width: 16}}", "§digits",
        "'dataset': expected a mapping", "",
    ),
    "replaced value within a mapping": (LABELLED, "{weights: 0.5}", "{weights: §-0.5}", "'weights'", ""),
    # reference models
    "reference of a known function": (
        TASK, "dim: 20,", "dim: 20, §reference: {},", "unknown key 'reference'", "leave it out: only real data",
    ),
    "reference outside the dataset": (TASK, "loss: mse", "loss: mse\n§reference: {}", "unknown key 'reference'", ""),
    "reference: true": (
        REAL, "{width: 16}", "§true", "'reference': expected a mapping, got true", "write `reference: {}`",
    ),
    "reference: yes": (REAL, "{width: 16}", "§yes", "'reference': expected a mapping", "write `reference: {}`"),
    "reference of one number": (REAL, "{width: 16}", "§16", "'reference': expected a mapping, got 16", "write {width: 16}"),
    "second rate below 0": (
        REAL, "second_critical: 0.25", "second_critical: §-0.25", "must be >= 0, got -0.25", "write 0 for a multiple of the first",
    ),
    "error of real targets": (
        REAL, "[train_loss]", "[§reference_error]", "reference_error needs class labels", "leave it out, or use the loss",
    ),
    "renamed as elsewhere": (
        TASK, "[train_loss, test_loss,", "[train_loss, {name: test_loss, §as: loss}, test_loss,",
        "unknown key 'as'", "known: name, label, at",
    ),
    "renamed beside options": (
        TASK, "[train_loss,", "[{name: sharpness, §as: top}, train_loss,", "unknown key 'as'", "known: name, label, at, products",
    ),
    # sizes
    "too small": (TASK, "train: 64", "train: §0", "'train' must be >= 1, got 0", ""),
    "too large": (TASK, "depth: 1", "depth: §500", "'depth' must be <= 200, got 500", ""),
    "factor outside": (TASK, "dim: 20,", "dim: 20, factors: §[0, 20],", "factors must be below dim = 20, got 20", ""),
    "widths and depth": (
        TASK, "model.width: [16, 32, 64]", "model.width: [16, 32, {label: two, value: §[8, 8]}]",
        "width lists 2 hidden layers but depth is 1", "",
    ),
    "too few images": (
        TASK, "{name: monomial, dim: 20, train: 64", "{name: digits, train: §300", "only 357 examples exist", "",
    ),
    "seed of a tuning": (TASK, "seeds: 8", "seeds: [0, 1, §1000000]", "item 3 of 'seeds' must be < 1000000, got 1000000", ""),
    "duplicate seeds": (TASK, "seeds: 8", "seeds: §[1, 2, 3, 2]", "seed 2 is given twice", ""),
    # methods
    "critical and adaptive": (
        TASK, "name: sgd, batch_size: 16, learning_rate: {critical: 0.5}", "name: adam, learning_rate: {§critical: 0.5}",
        "adam has no critical learning rate", "write `learning_rate: 0.1`",
    ),
    "two rates": (TASK, "{critical: 0.5}", "{critical: 0.5, value: §1}", "critical or as value, not both", "remove one"),
    "second rate and a value": (
        TASK, "{critical: 0.5}", "{second_critical: 0.5, value: §1}", "critical or as value, not both", "remove one",
    ),
    "second rate alone": (
        TASK, "{critical: 0.5}", "§{second_critical: 0.5}", "missing key 'critical'", "The multiple of `2/lambda_1`",
    ),
    "negative second rate": (
        TASK, "{critical: 0.5}", "{critical: 0.5, second_critical: §-1}", "'second_critical' must be >= 0, got -1", "",
    ),
    "misspelt second rate": (
        TASK, "{critical: 0.5}", "{critical: 0.5, §second: 0.5}", "unknown key 'second'", "second_critical",
    ),
    "rate in words": (TASK, "{critical: 0.5}", "§0.5 critical", "expected a number", "write {critical: 0.5}"),
    "misspelt rate": (TASK, "{critical: 0.5}", "{§critcal: 0.5}", "unknown key 'critcal'", "did you mean 'critical'?"),
    "batch larger than the data": (
        TASK, "method.batch_size: [8, 16]", "method.batch_size: [8, §65]",
        "batch_size 65 is larger than the 64 training examples", "write 64",
    ),
    "batch of gradient descent": (
        TASK, "method.batch_size: [8, 16]", "method.name: [sgd, gd]\n  method.batch_size: [§8, 16]",
        "'batch_size': expected no value, got 8", "leave it out: always the full training set",
    ),
    "unknown schedule": (
        TASK, "batch_size: 16, ", "batch_size: 16, schedule: {name: §cosin}, ", "unknown schedule 'cosin'", "'cosine'",
    ),
    "no method": (TASK, "method: {name: sgd, batch_size: 16, learning_rate: {critical: 0.5}}\n", "",
        "method: missing key 'name'", "known: gd, sgd"),
    "multilinear without blocks": (
        TASK, "activation: relu", "activation: relu, expansion: §multilinear",
        "a multilinear expansion needs a model whose parameters are divided into blocks", "use the bottleneck model",
    ),
    "truncated linear": (
        TASK, "activation: relu", "activation: relu, expansion: linear, truncate: §2", "truncate belongs to", "remove it",
    ),
    "bottleneck outside": (
        SEARCH, "{name: general_quadratic, gamma: 1e-3}",
        "{name: bottleneck, depth: 3, width: 8, bottleneck_width: 1, at: §[4]}",
        "at must list increasing hidden layers between 1 and depth = 3, got [4]", "",
    ),
    # sweeps
    "unknown root": (TASK, "  model.width: [", "  §modl.width: [", "'modl.width' cannot be swept", "did you mean 'model'?"),
    "swept seeds": (TASK, "  model.width: [", "  §seeds: [1]\n  model.width: [", "'seeds' cannot be swept", "no sweep axis"),
    "unknown swept option": (
        TASK, "  method.batch_size: [8", "  §method.momentm: [0.1]\n  method.batch_size: [8", "unknown key 'momentm'", "",
    ),
    "scalar axis": (TASK, "[16, 32, 64]", "§16", "expected a list of values, or a linear or log range, got 16", "write [16]"),
    "bad range": (TASK, "[16, 32, 64]", "§{lg: [16, 64, 3]}", "a range is {linear:", "did you mean 'log'?"),
    "range from zero": (TASK, "[16, 32, 64]", "{log: §[0, 64, 3]}", "'log' needs positive ends, got 0 and 64", ""),
    "range without count": (TASK, "[16, 32, 64]", "{log: §[16, 64]}", "expected [first, last, count]", ""),
    "range too fine": (TASK, "[16, 32, 64]", "{log: §[16, 18, 9]}", "only 3 of 9 values differ", ""),
    "value twice": (TASK, "[16, 32, 64]", "[16, 32, 64, §32]", "axis 'model.width' has 32 twice", ""),
    "no label": (TASK, "[16, 32, 64]", "[16, 32, §[64]]", "a list needs a label", "write {label: …, value: […]}"),
    "mapping without label": (
        TASK, "  model.width: [", "  model.init: [§{output: zero}]\n  model.width: [", "a mapping needs a label", "add `label",
    ),
    "unequal zip": (
        TASK, "  model.width: [16, 32, 64]\n  method.batch_size: [8, 16]",
        "  zip: §{model.width: [16, 32, 64], method.batch_size: [8, 16]}",
        "zipped axes must have equal lengths: model.width has 3, method.batch_size has 2", "",
    ),
    "point of a zip twice": (
        TASK, "  model.width: [16, 32, 64]\n  method.batch_size: [8, 16]",
        "  zip: {model.width: [16, 32, 64, §16], method.batch_size: [8, 8, 8, 8]}",
        "the zip has the point model.width: 16, method.batch_size: 8 twice", "remove one",
    ),
    "swept twice": (
        TASK, "  method.batch_size: [8, 16]", "  method.batch_size: [8, 16]\n  zip: {§model.width: [1, 2]}",
        "axis 'model.width' is swept twice", "remove one",
    ),
    "too many cells": (
        TASK, "  model.width: [16, 32, 64]\n  method.batch_size: [8, 16]",
        "  §model.width: {linear: [1, 1000, 1000]}\n  method.learning_rate.critical: {linear: [0.1, 1, 50]}",
        "the sweep has 50000 points; at most 10000 are allowed", "",
    ),
    "wrong swept value": (TASK, "[16, 32, 64]", "[16, 32, §-64]", "must be >= 1, got -64", ""),
    # metrics
    "metric at a wrong time": (
        TASK, METRICS, "metrics: [test_loss, {name: agop_alignment, at: §strat}]", "cannot be measured at 'strat'", "'start'",
    ),
    "metric option": (
        TASK, METRICS, "metrics: [test_loss, {name: hessian_norm, §step: 3}]", "unknown key 'step'", "did you mean 'steps'?",
    ),
    "two labels": (TASK, METRICS, "metrics: [test_loss, §{name: test_loss, at: start}]", "two metrics are called 'test_loss'",
        "give one of them a `label`"),
    "alignment without a function": (
        TASK, "{name: monomial, dim: 20, train: 64, validation: 32, test: 100}",
        "{name: gaussian_mixture, dim: 20, train: 64, test: 100}", "agop_alignment needs a dataset whose true function is",
        "monomial, low_rank_polynomial",
    ),
    "recursion of many examples": (
        TASK, METRICS, "metrics: [test_loss, §recursion_error]", "recursion_error needs the dataset single_example", "set",
    ),
    "recursion of two hidden layers": (
        RECURSION, "depth: 1", "depth: 2", "recursion_error needs the one-hidden-layer network", "depth: 1",
    ),
    "recursion with biases": (
        RECURSION, "depth: 1", "depth: 1, bias: true", "recursion_error needs the one-hidden-layer network", "bias: false",
    ),
    "recursion in standard parameterization": (
        RECURSION, "depth: 1", "depth: 1, parameterization: standard", "recursion_error needs the one-hidden-layer network",
        "parameterization: ntk",
    ),
    "recursion of a smooth expansion": (
        RECURSION, "relu", "tanh", "recursion_error needs the one-hidden-layer network", "activation: relu",
    ),
    "recursion of another model": (
        RECURSION, "{name: wide, depth: 1, width: 8, activation: relu, expansion: quadratic}", "{name: general_quadratic}",
        "recursion_error needs the one-hidden-layer network", "name: wide",
    ),
    "error of a regression": (TASK, METRICS, "metrics: [test_loss, §test_error]", "test_error needs class labels", "loss"),
    "no test set": (
        TASK, ", test: 100}", "}", "test_loss needs test examples, and the dataset has none", "set dataset.test",
    ),
    "curve not recorded": (
        TASK, METRICS, "metrics: [test_loss, §{name: work_to_target, target: 1, of: test_loss}]",
        "work_to_target needs the curve 'test_loss', which is not recorded", "add {name: test_loss, at: schedule}",
    ),
    "growth of a curve not recorded": (
        TASK, METRICS, "metrics: [test_loss, §{name: peak_over_start, of: top_loss}]",
        "peak_over_start needs the curve 'top_loss', which is not recorded", "add {name: top_loss, at: schedule}",
    ),
    "no Krylov step beyond the top": (
        TASK, METRICS, "metrics: [{name: top_loss, top: 8, steps: §8}]", "steps must be above top = 8", "raise it",
    ),
    "features of a model without layers": (
        TASK, TASK[TASK.index("model:"):],
        "model: {name: general_quadratic}\nloss: mse\nmethod: {name: gd, learning_rate: 0.1}\nstop: {steps: 9}\nseeds: 1\n"
        "metrics: [train_loss, §feature_alignment]\n",
        "feature_alignment needs a fully connected network", "use the wide or the bottleneck model",
    ),
    "catapults of mini-batches": (
        TASK, METRICS, "metrics: [test_loss, {name: tangent_kernel_norm, at: schedule}, §catapults]",
        "catapults needs full-batch training", "use sgd_catapults",
    ),
    "untrained": (
        ARENA, ARENA[ARENA.index("metrics:"):], "metrics: [{name: test_loss, at: §end}]",
        "test_loss is measured at 'end', but stop.steps is 0", "write `at: start`",
    ),
    "trained without a method": (
        ARENA, ARENA[ARENA.index("metrics:"):], "stop: {steps: §10}\n", "missing key 'method'", "add `method: {name: gd",
    ),
    "boundary without a search": (TASK, METRICS, "metrics: [test_loss, §boundary]", "boundary needs a search", "add `bisect"),
    # claims
    "no kind": (
        TASK, f"  - id: wider_is_better\n    says: The test loss falls with the width\n    where: {{method.batch_size: 8}}\n    {EXPONENT}",
        "  - §id: wider_is_better\n    says: The test loss falls with the width",
        "the claim has no kind", "add one of exponent, threshold",
    ),
    "misspelt kind": (TASK, EXPONENT, EXPONENT.replace("exponent", "§exponnent"), "unknown key 'exponnent'", "'exponent'"),
    "two kinds": (TASK, EXPONENT, EXPONENT + "\n    §threshold: {metric: test_loss, at_most: 1}", "the claim has two kinds", ""),
    "unknown claim metric": (
        TASK, EXPONENT, EXPONENT.replace("test_loss", "§tset_loss"), "the task does not measure 'tset_loss'", "'test_loss'",
    ),
    "along no axis": (
        TASK, EXPONENT, EXPONENT.replace("model.width", "§model.depth"), "'model.depth' is not swept", "'model.width'",
    ),
    "where no axis": (
        TASK, "where: {method.batch_size: 8}\n", "where: {§method.batchsize: 8}\n", "'method.batchsize' is not swept",
        "did you mean 'method.batch_size'?",
    ),
    "where no value": (
        TASK, "where: {method.batch_size: 8}\n", "where: {method.batch_size: §9}\n",
        "'method.batch_size' never has the value 9", "it has 8, 16",
    ),
    "too many cells selected": (
        TASK, f"    where: {{method.batch_size: 8}}\n    {EXPONENT}", f"    {EXPONENT.replace('{', '§{')}",
        "the claim selects 6 cells for 3 values of model.width, must be one each", "give method.batch_size one value",
    ),
    "contrast of many": (
        TASK, "    where: {model.width: 64}\n", "", "the first side selects 3 cells, must be one", "give model.width one value",
    ),
    "both in where": (
        TASK, "where: {model.width: 64}", "where: {model.width: 64, method.batch_size: 8}",
        "'method.batch_size' is in `where` too", "give it in one place",
    ),
    "same sides": (
        TASK, "between: [{method.batch_size: 8}, {method.batch_size: 16}]",
        "between: §[{method.batch_size: 8}, {method.batch_size: smallest}]", "both sides are the same cell", "",
    ),
    "too few points": (
        TASK, "[16, 32, 64]", "[16, 64]", "2 points along model.width; at least 3 are needed", "",
    ),
    "one point": (
        TASK, "[16, 32, 64]", "[64]", "1 point along model.width; at least 3 are needed", "add values",
    ),
    "where no label": (
        TASK, "where: {model.width: 64}", "where: {model.width: §wide}", "'model.width' never has the value 'wide'", "it has",
    ),
    "where no label, but nearly": (
        TASK, TASK[TASK.index("stop:"):],
        "  model: [{label: relu output}, {label: tanh output, output_activation: tanh}]\nstop: {steps: 9}\n"
        f"metrics: [test_loss]\nclaims:\n  - id: a\n    says: B\n    where: {{model: §tanh, method.batch_size: 8}}\n    {EXPONENT}",
        "'model' never has the value 'tanh'", "did you mean 'tanh output'?",
    ),
    "labels along": (
        TASK, "[16, 32, 64]", "[16, 32, {label: wide, value: 64}]", "'model.width' has values that are no numbers", "it has 16",
    ),
    "empty band": (
        TASK, "within: [-2, -0.1]", "within: §[-0.1, -2]", "within must rise from low to high, got [-0.1, -2]", "swap the two",
    ),
    "two regions": (
        TASK, "within: [-2, -0.1]", "at_most: -1, within: §[-2, -0.1]", "give exactly one of at_least, at_most and within", "",
    ),
    "no region": (
        TASK, ", within: [-2, -0.1]", "", "give exactly one of at_least, at_most and within; got none",
        "write one, such as at_most: -0.35",
    ),
    "no region of a contrast": (
        TASK, ", at_most: 0.9}", "}", "give exactly one of at_least, at_most and within; got none", "such as at_most: 0.1",
    ),
    "two claims": (
        TASK, "id: not_at_sixteen", "id: §wider_is_better", "two claims are called 'wider_is_better'", "the other is at line 17",
    ),
    "control of nothing": (
        TASK, "control: wider_is_better", "control: §wider_is_beter", "no claim is called 'wider_is_beter'",
        "did you mean 'wider_is_better'?",
    ),
    "control of itself": (
        TASK, "control: wider_is_better", "control: §not_at_sixteen", "a claim cannot be its own control",
        "name the claim that must fail here",
    ),
    "control of a control": (
        TASK, "tiers:", "  - {id: more, says: More, control: §not_at_sixteen}\ntiers:", "'not_at_sixteen' is itself a control",
        "name the claim that must fail here",
    ),
    "control of the same cells": (
        TASK, "    control: wider_is_better\n    where: {method.batch_size: 16}",
        "    control: wider_is_better\n    where: §{method.batch_size: 8}",
        "the control selects the same cells as 'wider_is_better'", "change one factor in `where`",
    ),
    "control of the same pair": (
        TASK, "tiers:", "  - {id: more, says: More, control: smaller_is_better, where: {model.width: 64}, between: "
        "§[{method.batch_size: 16}, {method.batch_size: 8}]}\ntiers:",
        "the control selects the same cells as 'smaller_is_better'", "give it a `between` of two other cells",
    ),
    "control that names one of the pair": (
        TASK, "tiers:", "  - {id: more, says: More, control: smaller_is_better, where: {model.width: 64, "
        "§method.batch_size: 16}}\ntiers:",
        "'method.batch_size' is what the two cells of the claim that it controls differ in", "a `between` of its own",
    ),
    "metric beside its kind": (
        TASK, "    contrast: {", "    §metric: test_loss\n    contrast: {",
        "only a control has a `metric` of its own", "put it into the contrast",
    ),
    "metric of the claim itself": (
        TASK, "tiers:", "  - {id: more, says: More, control: wider_is_better, where: {method.batch_size: 8}, "
        "metric: §test_loss}\ntiers:", "'test_loss' is the metric of the claim it controls", "name another metric",
    ),
    "metric of another unit": (
        TASK, "tiers:", "  - {id: more, says: More, control: wider_is_better, where: {method.batch_size: 8}, "
        "metric: §agop_alignment}\ntiers:",
        "the control measures 'agop_alignment' in 1, the claim 'test_loss' in loss", "name a metric of the same unit",
    ),
    "metric not measured": (
        TASK, "tiers:", "  - {id: more, says: More, control: wider_is_better, where: {method.batch_size: 8}, "
        "metric: §train_los}\ntiers:", "the task does not measure 'train_los'", "did you mean 'train_loss'?",
    ),
    "metric and cells": (
        TASK, "tiers:", "  - {id: more, says: More, control: wider_is_better, where: §{method.batch_size: 16}, "
        "metric: train_loss}\ntiers:",
        "the control changes both the metric and the cells of 'wider_is_better'", "change one factor",
    ),
    "pair of no contrast": (
        TASK, "    where: {method.batch_size: 16}",
        "    where: {method.batch_size: 16}\n    §between: [{model.width: 16}, {model.width: 32}]",
        "only the control of a contrast has a `between` of its own", "remove it",
    ),
    "pair beside its contrast": (
        TASK, "    contrast: {", "    §between: [{method.batch_size: 8}, {method.batch_size: 16}]\n    contrast: {",
        "only the control of a contrast has a `between` of its own", "put it into the contrast",
    ),
    "pair of three": (
        TASK, "tiers:", "  - {id: more, says: More, control: smaller_is_better, between: "
        "§[{model.width: 16}, {model.width: 32}, {model.width: 64}]}\ntiers:", "at most 2", "",
    ),
    "pair of many cells": (
        TASK, "tiers:", "  - {id: more, says: More, control: smaller_is_better, between: "
        "[§{model.width: 16}, {model.width: 32}]}\ntiers:",
        "the first side selects 2 cells, must be one", "give method.batch_size one value in `where`",
    ),
    "control with a kind": (
        TASK, "    control: wider_is_better", f"    control: wider_is_better\n    §{EXPONENT}",
        "a control takes its kind from the claim it controls", "remove it",
    ),
    "bad id": (TASK, "id: not_at_sixteen", "id: §not-at-16", "expected small letters, digits and underscores", "write not_at_16"),
    "unknown outcome": (
        TASK, EXPONENT, "outcome: {is: [§catapults], at_least: 0.9}", "got the text 'catapults'", "did you mean 'catapult'?",
    ),
    "one seed": (TASK, "seeds: 8\n", "seeds: §1\n", "1 seed decides no claim; at least 3 are needed", "write seeds: 8"),
    "too few seeds": (TASK, "seeds: 8\n", "seeds: §2\n", "2 seeds decide no claim; at least 3 are needed", "write seeds: 8"),
    # tiers
    "unknown tier": (TASK, "  smoke: {", "  §smok: {", "unknown tier 'smok'", "did you mean 'smoke'?"),
    "fixed in tiers": (TASK, "{seeds: 2,", "{§version: 2, seeds: 2,", "'version' is the same in all tiers", "remove it"),
    "wrong in a tier": (TASK, "stop: {steps: 10}", "stop: {steps: §ten}", "expected a whole number, got the text 'ten'", ""),
    "unknown in a tier": (TASK, "stop: {steps: 10}", "stop: {§stepps: 10}", "unknown key 'stepps'", ""),
    "unknown claim in a tier": (
        TASK, "{seeds: 2,", "{claims: {§wider_is_beter: null}, seeds: 2,", "no claim is called 'wider_is_beter'", "did you mean 'wider_is_better'?",
    ),
    # graphs
    "cycle": (
        GRAPH, "- [b, 7]", "- [b, 7]\n    - §[7, a]", "the graph has a cycle: ", "remove an edge of it, such as [",
    ),
    "node that reads itself": (GRAPH, "- [b, 7]", "- [b, 7]\n    - §[b, b]", "the graph has a cycle: b -> b", "such as [b, b]"),
    "unreachable node": (
        GRAPH, "- [b, 7]", "- [b, 7]\n    - §[c, 7]", "no input leads to node 'c'", "add an edge [x0, c], or remove the node",
    ),
    "dangling node": (GRAPH, "- [b, 7]", "- [b, 7]\n    - §[b, c]", "node 'c' leads to no output", "add an edge [c, y0]"),
    "edge twice": (GRAPH, "- [b, 7]", "- [b, 7]\n    - §[x0, a]", "the edge [x0, a] is given twice", "remove one"),
    "input that reads": (GRAPH, "- [b, 7]", "- [b, 7]\n    - §[a, x2]", "the input 'x2' reads 'a', but inputs are given", "[x2, a]"),
    "output that is read": (GRAPH, "- [b, 7]", "- [b, 7]\n    - §[y0, y1]", "'y1' reads the output 'y0'", "name it otherwise"),
    "gap in the outputs": (GRAPH, "- [7, y0]", "- [7, y0]\n    - §[7, y2]", "no edge leads into the output y1", "without a gap"),
    "no output": (
        GRAPH, "    - [a, y0]\n    - [7, y0]\n", "", "no edge leads into the output y0", "outputs are y0, y1",
    ),
    "edge of three": (GRAPH, "- [b, 7]", "- §[b, 7, a]", "needs at most 2 items, got 3", ""),
    "edges and a generator": (
        GRAPH, "  activation: tanh\n", "  activation: tanh\n  generator: §{name: densenet, depth: 2, width: 4}\n",
        "give edges or a generator, got both", "keep one",
    ),
    "no graph": (
        GENERATED, "{name: dag, activation: tanh, generator: {name: fully_connected, depth: 3, width: 8}}",
        "§{name: dag, activation: tanh}", "give edges or a generator, got neither", "",
    ),
    "unknown generator": (
        GENERATED, "name: fully_connected", "name: §fuly_connected", "unknown generator 'fuly_connected'", "'fully_connected'",
    ),
    "option of another generator": (
        GENERATED, "{name: fully_connected, depth: 3, width: 8}", "{name: densenet, depth: 3, width: 8, §keep: 0.5}",
        "unknown key 'keep'", "",
    ),
    "narrow level beyond the depth": (
        GENERATED, "width: 8}", "width: 8, at: §[4], width_at: 3}", "at must list hidden levels between 1 and depth = 3", "",
    ),
    "narrow level without a width": (GENERATED, "width: 8}", "width: 8, at: §[2]}", "at and width_at belong together", "give both"),
    "widths of another depth": (GENERATED, "width: 8}", "width: §[8, 8]}", "width lists 2 hidden levels but depth is 3", ""),
    "no node beside a lone one": (
        GENERATED, "width: 8}", "width: [8, 1, 8], lone: §true}", "lone needs hidden levels of at least 2 nodes", "widen the levels",
    ),
    "too few nodes": (
        GENERATED, "{name: fully_connected, depth: 3, width: 8}", "{name: random_in_degree, depth: 3, width: 16, nodes: §32}",
        "nodes must be at least width^power = 64", "raise it",
    ),
    "graph too large": (
        GENERATED, "{name: fully_connected, depth: 3, width: 8}", "{name: residual, depth: 3, width: §100000}",
        "the graph has room for 2e+10 weights; at most 1e+08", "lower width",
    ),
    "readout of no level": (
        GENERATED, "activation: tanh,", "activation: tanh, readout: §4,", "hidden level between 1 and depth = 3, got 4", "",
    ),
    "readout of no level of the edges": (
        GRAPH, "  activation: tanh\n", "  activation: tanh\n  readout: §4\n",
        "readout must name a hidden level, of which the edges make 3; got 4", "",
    ),
    "readout with an activation": (
        GENERATED, "activation: tanh,", "activation: tanh, readout: 2, output_activation: §tanh,",
        "readout gives pre-activations, which have no output_activation", "write identity",
    ),
    "even kernel": (CONVOLUTION, "channels: 4,", "channels: 4, kernel: §2,", "kernel must be odd", "write 3"),
    "unknown padding": (
        CONVOLUTION, "channels: 4,", "channels: 4, padding: §zeros,", "expected 'circular' or 'zero'", "did you mean 'zero'?",
    ),
    # arenas
    "arena with a method": (
        ARENA, "loss: mse", "loss: mse\n§method: {name: gd, learning_rate: 1}", "'method' is not allowed beside `leaderboard`",
        "remove it",
    ),
    "arena with steps": (ARENA, "loss: mse", "loss: mse\nstop: {§steps: 10}", "the budget decides", "remove it"),
    "arena with a sweep": (ARENA, "loss: mse", "loss: mse\n§sweep: {model.width: [1]}", "'sweep' is not allowed beside", ""),
    "tuned on the test set": (
        ARENA, "validation_metric: validation_loss", "validation_metric: §test_loss",
        "validation_metric is 'test_loss': methods are tuned on the validation set only", "write validation_loss",
    ),
    "tuned on the test set by another name": (
        ARENA, "[test_loss, validation_loss]\nleaderboard:\n  metric: test_loss\n  validation_metric: validation_loss",
        "[test_loss, {name: test_loss, label: chosen}]\nleaderboard:\n  metric: test_loss\n  validation_metric: §chosen",
        "validation_metric is 'chosen', which is test_loss: methods are tuned on the validation set only",
        "write validation_loss, and add it to metrics",
    ),
    "tuned on the test set by a validation name": (
        ARENA, "[test_loss, validation_loss]\nleaderboard:\n  metric: test_loss\n  validation_metric: validation_loss",
        "[test_loss, {name: test_loss, label: validation_loss}]\nleaderboard:\n  metric: test_loss\n"
        "  validation_metric: §validation_loss",
        "validation_metric is 'validation_loss', which is test_loss", "add it to metrics",
    ),
    "tuned on the training set": (
        ARENA, "[test_loss, validation_loss]\nleaderboard:\n  metric: test_loss\n  validation_metric: validation_loss",
        "[test_loss, validation_loss, train_loss]\nleaderboard:\n  metric: test_loss\n  validation_metric: §train_loss",
        "validation_metric is 'train_loss': methods are tuned on the validation set only", "write validation_loss",
    ),
    "ranked by nothing": (ARENA, "  metric: test_loss", "  metric: §test_error", "the task does not measure 'test_error'", ""),
    "unknown competitor": (ARENA, "  tune_seeds", "  methods: [gd, §sdg]\n  tune_seeds", "unknown method 'sdg'", "'sgd'"),
    "unknown reference": (ARENA, "{method: gd,", "{method: §gdd,", "unknown method 'gdd'", "did you mean 'gd'"),
    "both lists": (
        ARENA, "  tune_seeds", "  methods: [gd]\n  methods_not: §[sgd]\n  tune_seeds", "give methods or methods_not, not both",
        "remove one",
    ),
    "no budget": (ARENA, "budget: 6400", "budget: §40", "the budget of 40 does not pay for one step of 64 examples", ""),
    "no curve in the arena": (
        ARENA, "[test_loss,", "[{name: test_loss, at: end},", "the arena's metric 'test_loss' must be a curve", "at: schedule",
    ),
    # claims of an arena
    "claim about the cells of an arena": (
        RANKED, "rank_correlation: {metric: test_loss, against: agop_alignment, at_most: -0.5}",
        "§threshold: {metric: test_loss, at_most: 1}", "'threshold' is about cells, and those of an arena belong to its methods",
        "write a rank_correlation, or remove `leaderboard`",
    ),
    "methods without an arena": (
        TASK, EXPONENT, "§rank_correlation: {metric: test_loss, against: agop_alignment, at_most: -0.5}",
        "a rank_correlation is about the methods of an arena", "add `leaderboard: …` to the task",
    ),
    "too few methods": (
        RANKED, "tune_seeds: 2", "tune_seeds: 2\n  methods: [gd, sgd, adam, lion]", "4 methods compete; at least 10 are needed",
        "let more methods compete, or lower methods_at_least",
    ),
    "more methods than there are": (
        RANKED, "at_most: -0.5", "at_most: -0.5, methods_at_least: §200", "methods compete; at least 200 are needed", "",
    ),
    "ranked against itself": (
        RANKED, "against: agop_alignment", "against: §test_loss", "'test_loss' is ranked against itself", "name another metric",
    ),
    "ranked against what is not measured": (
        RANKED, "against: agop_alignment", "against: §agop_alinment", "the task does not measure 'agop_alinment'",
        "did you mean 'agop_alignment'?",
    ),
    "rank correlation without a region": (
        RANKED, "against: agop_alignment, at_most: -0.5", "against: agop_alignment", "give exactly one of at_least, at_most",
        "at_most: -0.5",
    ),
    "control of methods without a metric": (
        RANKED, "    metric: train_loss\n", "", "the control selects the same cells as 'aligned_is_better'",
        "give it another `metric`",
    ),
    "control ranked against itself": (
        RANKED, "    metric: train_loss\n", "    metric: §agop_alignment\n",
        "'agop_alignment' is what the claim ranks its metric against", "name another metric",
    ),
    "methods where": (
        RANKED, "  - id: not_the_training_loss\n    says: Not the training loss\n    control: aligned_is_better\n"
        "    metric: train_loss\n", "    where: {§method: gd}\n", "'method' is not swept", "the task has no sweep",
    ),
    # searches
    "reversed search": (SEARCH, "[1, 3]", "§[3, 1]", "between must rise from low to high, got [3, 1]", "swap the two"),
    "coarse search": (SEARCH, "tolerance: 0.01", "tolerance: §5", "tolerance must be below 2", ""),
    "search of something else": (
        SEARCH, "along: method.learning_rate.critical", "along: §model.gamma", "expected 'method.learning_rate.critical'", "",
    ),
    "searched and swept": (
        SEARCH, "claims:", "sweep: {§method.learning_rate.critical: [1, 2]}\nclaims:", "is swept and bisected at once",
        "remove one of the two",
    ),
    "boundary claim without a search": (
        SEARCH, "bisect: {along: method.learning_rate.critical, between: [1, 3], tolerance: 0.01, leaves: [monotone]}\n", "",
        "a boundary claim needs a search", "add `bisect: …` to the task",
    ),
    "period and record": (
        SEARCH, "{name: gd, learning_rate: {critical: 1.0}}",
        "{name: catapult_gd, period: §25, learning_rate: {critical: 1.0}}\nrecord: {every: 10}",
        "period 25 must be a multiple of record.every, which is 10", "every: 5",
    ),
}  # fmt: skip


SEVERAL = {
    CASES["batch of gradient descent"][1:3]: 2,  # one for each value
    CASES["labels along"][1:3]: 2,  # and a claim names the value that has a label now
}


def place(text: str, file: str) -> tuple[str, str]:
    """The text without its mark, and `file:line:col` of the mark."""
    before = text.partition("§")[0]
    line, col = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    return text.replace("§", ""), f"{file}:{line}:{col}: "


@pytest.mark.parametrize(("base", "old", "new", "message", "suggestion"), CASES.values(), ids=CASES)
def test_a_mistake_is_reported_at_its_place(tmp_path, monkeypatch, base, old, new, message, suggestion):
    assert base.count(old) == 1
    text, start = place(base.replace(old, new), "broken.yaml")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(TaskFileError) as caught:
        load_task("broken.yaml")
    lines = str(caught.value).splitlines()
    fitting = [line for line in lines if message in line and suggestion in line]
    assert fitting, lines
    if "§" in new:
        assert any(line.startswith(start) for line in fitting), lines
    assert len(lines) == SEVERAL.get((old, new), 1), lines  # one mistake, one message


@pytest.mark.parametrize(
    "base",
    [
        *(TASK, ARENA, LABELLED, REAL, RANKED, SEARCH, RECURSION, GRAPH, GENERATED, CONVOLUTION),
        RECURSION.replace(", expansion: quadratic", ""),
        RECURSION.replace("expansion: quadratic", "expansion: linear"),
        RECURSION.replace("relu, expansion: quadratic", "tanh"),
        RECURSION.replace("relu", "identity"),
    ],
)
def test_the_unbroken_files_are_valid(tmp_path, base):
    (tmp_path / "valid.yaml").write_text(base)
    load_task(tmp_path / "valid.yaml")


def test_all_mistakes_are_reported_at_once_and_in_order(tmp_path):
    text = TASK.replace("monomial", "monomal").replace("relu", "rulu").replace("loss: mse", "loss: msee")
    text = text.replace("along: model.width", "along: model.widht")
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(TaskFileError) as caught:
        load_task(tmp_path / "broken.yaml")
    assert [problem.line for problem in caught.value.problems] == [5, 6, 7, 20]


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("broken.yaml", b"title: \xff", "1:8: not valid UTF-8: byte 0xff"),
        ("broken.yaml", b"#" * (256 * 1024 + 1), "1:1: the file is larger than 256 KiB"),
        ("broken.yaml", b"title: x\n\xc2\x80: 1", "2:1: control character U+0080"),
        ("missing.yaml", None, "no such file"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, monkeypatch, name, raw, message):
    monkeypatch.chdir(tmp_path)
    if raw is not None:
        (tmp_path / name).write_bytes(raw)
    with pytest.raises(TaskFileError) as caught:
        load_task(name)
    assert str(caught.value).startswith(name)
    assert message in str(caught.value)


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "x.yaml").mkdir()
    with pytest.raises(TaskFileError, match="x.yaml: not a file"):
        load_task(tmp_path / "x.yaml")


def test_a_base_value_need_only_be_possible_by_itself(tmp_path):
    """Beside other values that are swept too, a value that the sweep replaces may not fit."""
    (tmp_path / "valid.yaml").write_text(TASK.replace("batch_size: 16, ", "batch_size: 1000, "))
    load_task(tmp_path / "valid.yaml")


def test_a_sweep_may_give_what_a_base_section_lacks(tmp_path):
    text = LABELLED.replace("{critical: 0.5, second_critical: 0.25}", "{second_critical: 0.25}")
    text = text.replace("{name: digits, train: 8, test: 8, task: regression,", "{name: digits,")
    assert text.count("0.25}") == text.count("{name: digits, reference") == 1
    (tmp_path / "valid.yaml").write_text(text)
    load_task(tmp_path / "valid.yaml")


@pytest.mark.parametrize("value", ["many", "'64'", "one", "[one]", "{a: 1}", "null", "true", "1.5", '"8"'])
@pytest.mark.parametrize("key", ["seeds", "width", "factors", "learning_rate", "metrics", "stop", "within"])
def test_a_suggested_value_is_accepted(tmp_path, key, value):
    """What a message says to write is not answered with the same message."""
    old = {
        "seeds": "seeds: 8\n", "factors": "dim: 20,", "learning_rate": "learning_rate: {critical: 0.5}",
        "metrics": METRICS, "stop": "stop: {steps: 200, train_loss: 1e-3}", "within": "within: [-2, -0.1]", "width": "width: 64, ",
    }[key]  # fmt: skip

    def problems(given):
        end = {"seeds": "\n", "factors": ",", "width": ", "}.get(key, "")
        head = "dim: 20, " if key == "factors" else ""
        assert TASK.count(old) == 1
        (tmp_path / "x.yaml").write_text(TASK.replace(old, f"{head}{key}: {given}{end}"))
        try:
            load_task(tmp_path / "x.yaml")
        except TaskFileError as error:
            return [p for p in error.problems if f"'{key}'" in p.message]
        return []

    for problem in problems(value):
        if (
            problem.suggestion.startswith("write ")
            and "…" not in problem.suggestion
            and "':'" not in problem.suggestion
        ):
            written = problem.suggestion.removeprefix("write ").removesuffix(" in quotes")
            assert problem.message not in [p.message for p in problems(written)]
