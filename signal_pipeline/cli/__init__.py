"""The command `signal-pipeline`: reads arguments, calls a package, prints."""


def main() -> None:
    """Run the command. Exit 0 is done, 1 failed, 2 usage."""
    from signal_pipeline.cli.commands import main as run

    run()
