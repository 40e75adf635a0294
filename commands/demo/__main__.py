"""Open a page to draw on: `python -m commands.demo`."""

import argparse
import signal
from pathlib import Path

from commands import CLASSIFIER, run_command, trained_on
from src.errors import MnistryError


def main() -> int:
    """Serve the page until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m commands.demo", description="A page to draw on.")
    parser.add_argument(
        "--classifier", type=Path, default=CLASSIFIER, metavar="FILE", help="a trained classifier (%(default)s)"
    )
    parser.add_argument("--port", type=_port, default=8000, help="on 127.0.0.1 (%(default)s); 0 takes any free one")
    arguments = parser.parse_args()
    # torch takes seconds to import: `--help` doesn't wait for it.
    from commands.demo.server import DemoServer
    from src.checkpoints import load_classifier

    classifier = load_classifier(arguments.classifier)
    try:
        # dvc.lock is about the pipeline's classifier alone.
        dataset = trained_on().name if arguments.classifier == CLASSIFIER else ""
    except MnistryError:
        dataset = ""
    with DemoServer(classifier, dataset, arguments.port) as server:
        print(f"{classifier.name}: open {server.url} and draw; Ctrl+C stops", flush=True)
        # Here, Ctrl+C is the regular end.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; expected 0 to 65535")
    return int(text)


if __name__ == "__main__":
    run_command(main)
