"""The mathematics that all models share: densities, combinations of experts, and bounds."""
