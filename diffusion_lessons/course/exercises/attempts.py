"""What an attempt may do: take its time, up to a limit, and print, once.

A check calls a learner's function several times with different arguments, and the function may
never return.
"""

import ctypes
import io
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

AGAIN = 0.1  # seconds after which what swallowed the end of its time is told once more
GRACE = 1.0  # seconds for an end, after which a thread is left to itself
LONGEST = 10_000  # characters of what an attempt prints


class OutOfTime(BaseException):
    """Raised within what has not come to an end: no Exception, so that it is not caught there."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """What ``call`` returns, or `OutOfTime` if that takes more than so many seconds.

    On Linux and macOS an alarm interrupts it, in the main thread, where it may do all that a cell
    may. Elsewhere it runs in a thread beside this one; if it waits for something that cannot be
    interrupted, it is left there.
    """
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        return _with_alarm(seconds, call)
    return _beside(seconds, call)


def _with_alarm(seconds: float, call: Callable[[], T]) -> T:
    running = True

    def ring(number: int, frame: Any) -> None:
        if running:
            raise OutOfTime

    handler = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    began = time.monotonic()
    try:
        try:
            return call()
        finally:
            running = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:  # an alarm of somebody else
            rest = left - (time.monotonic() - began)
            signal.setitimer(signal.ITIMER_REAL, max(rest, 1e-3), interval)


def _beside(seconds: float, call: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []
    differentiated = torch.is_grad_enabled()  # each thread has a mode of its own

    def run() -> None:
        try:
            with torch.set_grad_enabled(differentiated):
                results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True)
    thread.start()
    try:
        _wait(thread, seconds)
    finally:  # too late, or this thread was interrupted
        until = time.monotonic() + GRACE
        while thread.is_alive() and time.monotonic() < until:
            number = ctypes.c_ulong(thread.ident or 0)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(OutOfTime))
            _wait(thread, AGAIN)
    if results:
        return results[0]
    raise errors[0] if errors else OutOfTime


def _wait(thread: threading.Thread, seconds: float) -> None:
    """In short turns: on Windows nothing else can interrupt a waiting main thread."""
    until = time.monotonic() + seconds
    while thread.is_alive() and (rest := until - time.monotonic()) > 0:
        thread.join(min(rest, AGAIN))


class Prints(io.TextIOBase):
    """Hands on what is printed, up to a number of characters."""

    def __init__(self, to: Any, most: int) -> None:
        self.to, self.left = to, most

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.left > 0:
            self.to.write(text[: self.left])
            self.left -= len(text)
            if self.left <= 0:
                self.to.write("\n... and so on\n")
        return len(text)

    def flush(self) -> None:
        self.to.flush()


_heard: ContextVar[list[Any] | None] = ContextVar("heard", default=None)
_changed: ContextVar[list[bool] | None] = ContextVar("changed", default=None)


@contextmanager
def one_attempt() -> Iterator[list[bool]]:
    """In this block each function's prints are seen at its first call alone (`printing`).

    It gives a list that is empty until a function changes what it was given (`changing`).
    """
    changed: list[bool] = []
    tokens = _heard.set([]), _changed.set(changed)
    try:
        yield changed
    finally:
        _heard.reset(tokens[0])
        _changed.reset(tokens[1])


@contextmanager
def printing(function: Any) -> Iterator[None]:
    """Around a call of a learner's function."""
    heard = _heard.get()
    again = heard is not None and any(other is function for other in heard)
    if heard is not None:
        heard.append(function)
    with redirect_stdout(Prints(sys.stdout, 0 if again else LONGEST)):
        yield


@contextmanager
def changing(arguments: Iterable[Any], copies: Iterable[Any]) -> Iterator[None]:
    """Around a call with copies of its arguments: does it change them?"""
    try:
        yield
    finally:
        changed = _changed.get()
        pairs = zip(arguments, copies, strict=True)
        tensors = [(p, copy) for p, copy in pairs if isinstance(p, Tensor)]
        if changed is not None and any(not torch.equal(p, copy) for p, copy in tensors):
            changed.append(True)
