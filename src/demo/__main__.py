"""Open a page to draw on: `python -m src.demo`."""

import argparse
from pathlib import Path

from src.commands import run_command
from src.predict import CLASSIFIER


def main() -> int:
    """Serve the page until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m src.demo", description="A page to draw on.")
    parser.add_argument("--model", type=Path, default=CLASSIFIER, metavar="FILE", help="the classifier (%(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="on 127.0.0.1 (%(default)s); 0 takes any free one")
    arguments = parser.parse_args()
    # torch takes seconds to import: `--help` doesn't wait for it.
    from src.checkpoints import load_classifier
    from src.classification import trained_on
    from src.demo.server import DemoServer
    from src.errors import MnistryError

    classifier = load_classifier(arguments.model)
    try:
        # dvc.lock speaks of the pipeline's classifier alone.
        dataset = trained_on(Path("dvc.lock")).name if arguments.model == CLASSIFIER else ""
    except MnistryError:
        dataset = ""
    with DemoServer(classifier, dataset, arguments.port) as server:
        print(f"{classifier.name}: open {server.url} and draw; Ctrl+C stops", flush=True)
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
