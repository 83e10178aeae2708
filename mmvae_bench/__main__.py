"""``python -m mmvae_bench`` is ``mmvae-bench``."""

from mmvae_bench.cli.app import main

main(prog_name="mmvae-bench")
