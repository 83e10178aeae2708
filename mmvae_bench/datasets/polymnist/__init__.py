"""PolyMNIST: the same digit on several photographs."""
