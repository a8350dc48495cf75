"""asv benchmarks: what the science says and what its kernels cost, commit by commit.

The benchmarks come from the working tree, the package from the commit's own wheel: they use public functions only.
"""
