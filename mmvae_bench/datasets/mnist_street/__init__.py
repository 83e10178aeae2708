"""MNIST digits with rendered street numbers of the same class."""
