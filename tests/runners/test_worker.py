"""Messages between parent and worker, and what an exception is called."""

import io
import pickle

import numpy as np
import pytest

from tangentbench.runners.worker import HEADER, classify, receive, send
from tangentbench.tasks.datasets import DatasetUnavailable


def test_messages_come_out_as_they_went_in():
    stream, messages = io.BytesIO(), [("ready",), ("run", 0, 3, {"arrays": {"loss": np.arange(3.0)}}), ("done",)]
    for message in messages:
        send(stream, message)
    stream.seek(0)
    first, second, third = (receive(stream) for _ in messages)
    assert (first, third) == (messages[0], messages[2])
    assert second is not None and np.array_equal(second[3]["arrays"]["loss"], np.arange(3.0))
    assert receive(stream) is None


def test_a_message_cut_short_is_the_end():
    payload = pickle.dumps("a message")
    whole = HEADER.pack(len(payload)) + payload
    assert receive(io.BytesIO(whole)) == "a message"
    for length in range(len(whole)):
        assert receive(io.BytesIO(whole[:length])) is None


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DatasetUnavailable("no files", "get them"), "skipped", "no files (get them)"),
        (MemoryError(), "out_of_memory", "MemoryError"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), "out_of_memory", "RESOURCE_EXHAUSTED: Out of memory"),
        (ValueError("two\n  lines"), "error", "ValueError: two lines"),
        (KeyError("name"), "error", "KeyError: 'name'"),
        (ValueError(), "error", "ValueError: ValueError"),
    ],
)
def test_an_exception_is_a_status_and_one_line(error, status, message):
    assert classify(error) == (status, message)


def test_a_long_message_is_cut():
    assert len(classify(ValueError("x" * 10_000))[1]) < 600
