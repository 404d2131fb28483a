"""The command doctor: versions, devices, and what is missing."""

from __future__ import annotations

import argparse

from metamodal.app.command import Command

__all__ = ["COMMAND"]


def flags(command: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> None:
    """Versions, devices, and what is missing."""
    from metamodal.app.doctor import findings
    from metamodal.app.speech import print_json, speaker

    found = findings()
    if options.json:
        print_json(found)
        return
    say = speaker(options)
    for name, version in found["versions"].items():
        say(f"{name:18} {version}")
    for name, state in found["extras"].items():
        say(f"{'extra ' + name:18} {state}")
    say(f"{'devices':18} {', '.join(found['devices'])}")
    for kind, state in found["kinds"].items():
        say(f"{'kind ' + kind:18} {state}")
    for problem in found["problems"]:
        say(f"problem: {problem}")


COMMAND = Command(
    90,
    "doctor",
    "versions, extras, devices, and what is missing and how to get it",
    "metamodal doctor --json",
    flags,
    run,
)
