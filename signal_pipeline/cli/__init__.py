"""The command `signal-pipeline`: reads arguments, calls a package, prints."""

from signal_pipeline.system.loading import loaded_for_good


def main() -> None:
    """Run the command. It exits 0 if done, 1 if failed, 2 for wrong usage."""
    with loaded_for_good():
        from signal_pipeline.cli import commands

    commands.main()
