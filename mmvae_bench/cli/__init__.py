"""The command line. Everything heavy is imported inside the commands: --help and list answer at once."""

from mmvae_bench.cli.app import main

__all__ = ["main"]
