"""`make dev`: runs `reelgate dev`, and restarts it whenever a file in app/ changes. Ends with Ctrl-C."""

import signal
import subprocess
import sys

from watchfiles import watch

_STOP_S = 25  # longer than a server waits for requests in progress


def main() -> None:
    """Starts the server, and restarts it after each change, until interrupted."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = _start()
    try:
        for _ in watch("app"):
            print("\nA file in app/ has changed: starting anew.\n", flush=True)
            _stop(server)
            server = _start()
    except KeyboardInterrupt:
        pass
    finally:
        _stop(server)


def _start() -> "subprocess.Popen[bytes]":
    # In its own session, so that the terminal's Ctrl-C reaches it only once, from here.
    return subprocess.Popen([sys.executable, "-m", "app.cli.entry", "dev"], start_new_session=True)


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.send_signal(signal.SIGINT)  # does nothing where it has ended already
    try:
        server.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
