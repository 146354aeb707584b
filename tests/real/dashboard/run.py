"""Drives the dashboard with a browser: one flow, against the binary and a broker.

usage: run.py --binary FILE --broker HOST:PORT --chromium FILE --axe FILE --shots DIR [--files DIR] FLOW
"""

import argparse
import sys
import tempfile

import access
import doors
import lists
import trouble
from stage import Stage

FLOWS = {flow.__name__: flow for module in (access, doors, lists, trouble) for flow in module.FLOWS}


def main():
    parser = argparse.ArgumentParser()
    for name in ("binary", "broker", "chromium", "axe", "shots"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--files")
    parser.add_argument("flow", choices=FLOWS)
    options = parser.parse_args()
    flow = FLOWS[options.flow]
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(options, folder, getattr(flow, "config", ""))
        try:
            flow(stage)
        except BaseException:
            for number, page in enumerate(stage.pages):
                try:
                    page.shot(f"failed-{options.flow}-{number}")
                except Exception:
                    pass
                print(page.complaints, file=sys.stderr)
            stage.abandon()
            raise
        stage.end()
    print(f"{options.flow}: done")


if __name__ == "__main__":
    main()
