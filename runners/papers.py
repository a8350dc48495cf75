"""Titles of the papers whose statements the suite tests, as boards print them."""

from __future__ import annotations

PAPERS = {
    "2010.01092": "On the linearity of large non-linear models: when and why the tangent kernel is constant",
    "2205.11786": "Transition to Linearity of General Neural Networks with Directed Acyclic Graph Architecture",
    "2205.11787": "Quadratic models for understanding neural network dynamics",
    "2206.15058": "A note on Linear Bottleneck networks and their Transition to Multilinearity",
    "2209.15106": "Restricted Strong Convexity of Deep Learning Models with Smooth Activations",
    "2306.04815": (
        "Catapults in SGD: spikes in the training loss and their impact on generalization through feature learning"
    ),
}


def heading(arxiv: str) -> str:
    """`arXiv 2205.11787: title`; without the title where it is not known, and a word for tasks without a paper."""
    if not arxiv:
        return "Tasks without a paper"
    return f"arXiv {arxiv}: {PAPERS[arxiv]}" if arxiv in PAPERS else f"arXiv {arxiv}"
