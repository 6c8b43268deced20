"""The command `signal-pipeline`: reads arguments, calls a package, prints."""

import gc


def main() -> None:
    """Run the command. It exits 0 if done, 1 if failed, 2 for wrong usage."""
    # The modules that are loaded here stay to the end, so the garbage collector can skip them, now
    # and later. Its passes over them, of which the last is at the exit, would take a tenth of a
    # second and more.
    gc.disable()
    from signal_pipeline.cli import commands

    gc.freeze()
    gc.enable()
    commands.main()
