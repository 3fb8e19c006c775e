"""Figures of picoauth for Prometheus."""

from picoauth_metrics.plugin import MetricsPlugin, MetricsSettings

__all__ = ["MetricsPlugin", "MetricsSettings"]
