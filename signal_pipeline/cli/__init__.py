"""The command `signal-pipeline`: reads arguments, calls a package, prints."""


def main() -> None:
    """Run the command. It exits 0 if done, 1 if failed, 2 for wrong usage."""
    from signal_pipeline.cli import commands

    commands.main()
