"""What is checked of each kind of component, in the order of the checks; read without jax, since help prints it.

A check is the function of that name (`_` for each space) in the module of its kind, called with the kind's `Subject`.
"""

from __future__ import annotations

ENTRY = "the entry has a summary, a source and all that its kind must declare, and loads what it names"
OPTIONS = "every option has a sentence, and is a keyword of the component with the same default"

PROMISES: dict[str, dict[str, str]] = {
    "dataset": {
        "entry": ENTRY,
        "options": OPTIONS,
        "shapes": "float64 matrices, finite, of the sizes asked for; no split where the size is 0",
        "targets": "labels are -1 and 1 or one-hot rows exactly where `offers` says classification",
        "determinism": "one generator gives one data set, whatever numpy's global state; another gives another",
        "splits": "no example is in two of training, validation and test",
        "content hash": "the same in another process",
        "agop": "the true function's gradient outer product agrees with finite differences of that function",
    },
    "model": {
        "entry": ENTRY,
        "options": OPTIONS,
        "single example": "[inputs] gives [outputs], for two outputs, or for one if it refuses two",
        "precision": "weights and outputs are float32 without x64, and float64 with float64 weights and inputs",
        "finite": "outputs are finite, in both precisions",
        "vmap": "a batch gives what its examples give one by one",
        "parameters": "there are trained arrays, `partition` takes them apart and `combine` together, outputs use them",
        "determinism": "one key gives one model, built in a compiled program; another key gives another",
        "gradient": "finite, and the same as finite differences",
        "expansions": "each Taylor model has the network's value and gradient at initialisation",
        "tangent kernel": "agrees with that of a dense Jacobian; says how it was computed: layerwise or by Jacobian",
    },
    "loss": {
        "entry": ENTRY,
        "value": "a finite scalar, zero where predictions are the targets and positive elsewhere",
        "gradient": "the same as finite differences",
        "scale": "`per_kernel(n, c)` is the Hessian in the predictions: s times the identity",
        "shapes": "[n] against [n 1] is refused, not broadcast",
        "static": "it can be hashed, and equals itself, as a static part of a compiled program must",
    },
    "method": {
        "entry": ENTRY,
        "options": OPTIONS,
        "grid": "the points that arenas tune on are valid, distinct, and in units of the critical rate if declared",
        "descent": "at a small rate the loss of a least-squares problem falls",
        "state": "a step keeps structure, shapes and dtypes of weights and state, in both precisions",
        "rate": "a number, an array in a compiled program and, if it takes schedules, a constant one do the same",
        "determinism": "the same gradients give the same steps",
        "resets": "a method that resets its rate keeps it in `state.rate`, constant between multiples of `period`",
    },
    "metric": {
        "entry": ENTRY,
        "options": OPTIONS,
        "finite": "a finite number on a tiny run; empty only for a whole run, or if the definition says `none where …`",
        "certificate": "a declared tolerance comes with a residual, which is within it on the tiny run",
        "batch": "the number does not depend on how many runs train side by side",
    },
}


def words() -> str:
    """All of it, for the help of `tangentbench check`."""
    lines = []
    for kind, promised in PROMISES.items():
        lines += [f"checks of a {kind}:", *(f"  {name:<15} {says}" for name, says in promised.items()), ""]
    return "\n".join(lines)
