"""Markov chains over latents, and annealed importance sampling by them."""
