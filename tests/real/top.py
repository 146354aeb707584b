"""Sits at a terminal, watches `mqtt-bouncer top`, and ends it in every way that a person may.

usage: top.py COMMAND...   (the command that runs top)
"""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
PATIENCE = 20


def watch(command, end):
    """Runs the command at a terminal of 80 by 24, ends it once its screen is there; returns what it wrote."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(terminal)
    written, ended = b"", False
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                chunk = os.read(terminal, 65536)
            except OSError:
                break
            if not chunk:
                break
            written += chunk
            if LEAVE in written:
                # While somebody holds the other end, its settings can be seen.
                wait_for_end(pid)
                after = termios.tcgetattr(terminal)
                assert after[:4] == before[:4], f"the terminal is not as it was: {before} {after}"
                return written
        if not ended and written.count(b"OUTCOME") >= 2:
            ended = True
            end(pid, terminal)
    raise AssertionError(f"it did not end: {written[-2000:]}")


def wait_for_end(pid):
    for _ in range(PATIENCE * 10):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0, status
            return
        time.sleep(0.1)
    raise AssertionError("the process goes on")


WAYS = {
    "q": lambda pid, terminal: os.write(terminal, b"q"),
    "Escape": lambda pid, terminal: os.write(terminal, b"\x1b"),
    "Control-C": lambda pid, terminal: os.write(terminal, b"\x03"),
    "SIGTERM": lambda pid, terminal: os.kill(pid, signal.SIGTERM),
    "SIGINT": lambda pid, terminal: os.kill(pid, signal.SIGINT),
    "SIGHUP": lambda pid, terminal: os.kill(pid, signal.SIGHUP),
}


def leave(command):
    """Closes the window: the terminal is gone, and so is the command."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    written = b""
    while written.count(b"OUTCOME") < 2:
        written += os.read(terminal, 65536)
    os.close(terminal)
    try:
        wait_for_end(pid)
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        raise


def main():
    command = sys.argv[1:]
    for way, end in WAYS.items():
        written = watch(command, end)
        assert ENTER in written and written.index(ENTER) < written.rindex(LEAVE), way
        print(f"{way}: the terminal is as it was")
    leave(command)
    print("the terminal gone: so is the command")


if __name__ == "__main__":
    main()
