"""The mathematics that all models share: densities, how experts are combined, and bounds."""
