"""A job for `benchmarks.foreign.worker`."""


def count(start: int):
    """Counts its own runs."""
    runs = [start]

    def job() -> float:
        runs[0] += 1
        return float(runs[0])

    return job
