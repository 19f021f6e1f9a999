"""Measurements, as ratios in one run: machines are shared and noisy, ratios are not."""
