"""What a command says must not end it: closed streams, pipes that nobody reads, ASCII terminals."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


class Patient:
    """A text stream that drops what nobody reads, and says in ASCII what it cannot encode."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._unread_dropped():
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                code = self._stream.encoding
                self._stream.write(text.encode(code, "backslashreplace").decode(code))
        return len(text)

    def flush(self) -> None:
        with self._unread_dropped():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _unread_dropped(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:  # as of `doctor | head -1`
            # Python's own flush at the end would stumble over what is still to be written.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        except OSError as error:
            raise OSError(f"the output could not be written ({error.strerror})") from error


@contextlib.contextmanager
def patient_streams() -> Iterator[None]:
    """Standard output and error, in here, are patient; one that is closed is as good as none.

    It is not left to None: a progress bar wants to write somewhere.
    """
    with contextlib.ExitStack() as stack:
        for name, redirect in (
            ("stdout", contextlib.redirect_stdout),
            ("stderr", contextlib.redirect_stderr),
        ):
            stream = getattr(sys, name) or stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(redirect(Patient(stream)))
        yield
