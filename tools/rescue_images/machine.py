# SPDX-License-Identifier: Apache-2.0
"""A machine that boots a rescue image under QEMU, and its serial console."""

import codecs
import re
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rescue_images import MIN_RAM, ImageError

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]|\r|\x07")
#: The begin of an escape sequence whose end has not been read yet.
_PARTIAL = re.compile(r"\x1b(?:[()]|\[[0-9;?]*)?\Z")
_INTERVAL = 0.2
#: In seconds, far above what a step needs under emulation on a busy machine.
_LIMIT = 3600
# The kernel may write behind a prompt, so no pattern has an end of the text.
_PROMPT = r"\(rescue\) root@[^\n]*# "


class Machine:
    """A running QEMU; a context that ends it.

    :param arguments: devices and firmware
    :param log: gets all that the serial console prints
    """

    def __init__(self, arguments: list[str], log: Path) -> None:
        self._arguments = arguments
        self._log = log
        self._text = ""
        self._position = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        command = ["qemu-system-x86_64", "-m", str(MIN_RAM), "-smp", "2"]
        command += [
            "-accel",
            "tcg",
            "-display",
            "none",
            "-monitor",
            "none",
            "-serial",
            "stdio",
        ]
        command += ["-nic", "none", "-no-reboot", *self._arguments]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except FileNotFoundError as error:
            raise ImageError("apt-get install qemu-system-x86 ovmf") from error
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        pending = ""
        with self._log.open("wb", buffering=0) as log:
            while data := self._process.stdout.read1(4096):
                log.write(data)
                pending += decoder.decode(data)
                partial = _PARTIAL.search(pending)
                end = partial.start() if partial else len(pending)
                with self._lock:
                    self._text += _ESCAPES.sub("", pending[:end])
                pending = pending[end:]

    def wait_for(self, pattern: str, limit: float = _LIMIT) -> re.Match[str]:
        """Return the next match in what the console prints, and skip to its end.

        :raises ImageError: if QEMU ends or the limit in seconds passes before
        """
        deadline = time.monotonic() + limit
        while True:
            has_ended = self._process.poll() is not None
            with self._lock:
                text = self._text[self._position :]
            if match := re.search(pattern, text):
                self._position += match.end()
                return match
            if has_ended or time.monotonic() > deadline:
                reason = "QEMU ended" if has_ended else f"{limit:.0f} s passed"
                raise ImageError(
                    f"{reason} before the console printed {pattern!r}; it ends with\n"
                    f"{text[-800:]}"
                )
            time.sleep(_INTERVAL)

    def type(self, text: str) -> None:
        """Type a line on the console."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n".encode())
        self._process.stdin.flush()

    def log_in(self, password: str) -> str:
        """Log in as root; return what is printed before the first prompt."""
        self.wait_for(r"\blogin: ")
        self.type("root")
        self.wait_for(r"Password: ")
        self.type(password)
        begin = self._position
        self.wait_for(_PROMPT)
        greeting = self._text[begin : self._position].rpartition("\n")[0]
        # Neither an echo nor messages of the kernel get among the outputs.
        self.type("stty -echo cols 200; PS1=; dmesg -n 1")
        self.run("true")
        return greeting.strip("\n")

    def run(self, command: str) -> tuple[int, str]:
        """Return the status and the output of a shell command."""
        begin = self._position
        self.type(f"{command}; echo ended:$?:")
        match = self.wait_for(r"ended:(\d+):\n")
        text = self._text[begin : self._position]
        # The shell echoes nothing but the end of the line.
        return int(match[1]), text[: text.rindex("ended:")].removeprefix("\n")

    def wait(self) -> None:
        """Wait until the machine is off.

        :raises ImageError: if that takes too long
        """
        try:
            self._process.wait(_LIMIT)
        except subprocess.TimeoutExpired as error:
            raise ImageError("the machine does not power off") from error
