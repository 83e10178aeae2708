"""Caltech-UCSD Birds 200-2011 with captions: pictures or their features."""
