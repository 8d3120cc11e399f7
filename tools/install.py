"""Installs a hash-pinned lock file with pip, and shows its progress: `python tools/install.py LOCK`.

On a terminal one line counts the packages; elsewhere a line is printed for every ten. pip's output is shown
only where it fails. It uses the standard library alone, because it runs before anything is installed.
"""

import re
import subprocess
import sys

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off")
_EVERY = 10


def main(lock: str) -> int:
    """Runs pip, and returns its exit code."""
    said: list[str] = []
    count = 0
    with subprocess.Popen(
        [*_PIP, "--require-hashes", "-r", lock],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as pip:
        for line in pip.stdout or ():
            said.append(line)
            if found := re.match(r"Collecting ([^=\s\[(]+)", line):
                count += 1
                _show(f"{count} packages fetched: {found[1]}", passing=True, due=count % _EVERY == 0)
            elif line.startswith("Installing collected packages"):
                _show(f"{count} packages fetched; installing them, which takes about as long …")
    if pip.returncode:
        sys.stderr.writelines(said)
    return pip.returncode


def _show(text: str, *, passing: bool = False, due: bool = True) -> None:
    """Prints a line. A terminal overwrites a `passing` line; elsewhere a line shows only if it is `due`."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\033[K  {text}" + ("" if passing else "\n"))
    elif due:
        sys.stdout.write(f"  {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
