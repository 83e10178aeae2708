"""The command line. Heavy modules are imported inside the commands, so that --help and list are fast."""

from mmvae_bench.cli.app import main

__all__ = ["main"]
