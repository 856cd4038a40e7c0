"""Use of a trained model: descriptors of any pictures, maps of places, queries, calibration."""
