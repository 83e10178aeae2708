"""mmvae-bench: multimodal variational autoencoders, compared on equal terms."""

__version__ = "0.1.0"
