"""What is asked: task files and their schema, the registry of components, data sets, losses, metrics and claims.

`tasks.load` reads task files without importing jax or numpy; `tasks.datasets` needs numpy, `tasks.losses` and
`tasks.metrics` need jax. Nothing is imported here, so that each is paid for only where it is used.
"""
