"""Judging a trained policy: success with its confidence interval, reports, videos, robustness."""
