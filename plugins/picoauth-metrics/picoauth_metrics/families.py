"""Figures as families of Prometheus, named as its conventions have it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from picoauth import Figure
from picoauth_metrics.snapshot import Snapshot
from picoauth_metrics.tally import Tally


def families(snapshot: Snapshot, tally: Tally, version: str) -> Iterator[Metric]:
    yield InfoMetricFamily("picoauth", "What serves.", {"version": version})
    yield from answers(snapshot.figures)
    yield counter("picoauth_events", "Events, by type.", "event", tally.events)
    yield counter("picoauth_logins", "Logins, by how they went.", "result", tally.logins)
    yield CounterMetricFamily(
        "picoauth_sessions_created", "Sessions that were made.", value=tally.sessions
    )
    yield from outbox(snapshot)
    yield gauge("picoauth_database_up", "Whether the database answers.", snapshot.database_up)
    yield gauge("picoauth_revocations", "Ended sessions in memory.", snapshot.revoked)
    yield gauge(
        "picoauth_revocations_age_seconds",
        "Since the list of ended sessions was last looked at.",
        snapshot.revocations_age,
    )
    for name, value in sorted(snapshot.gauges.items()):
        yield gauge(name, "Of a plugin.", value)


def gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def outbox(snapshot: Snapshot) -> Iterator[Metric]:
    messages = GaugeMetricFamily(
        "picoauth_outbox_messages", "Messages that wait to be sent.", labels=["kind"]
    )
    oldest = GaugeMetricFamily(
        "picoauth_outbox_oldest_seconds", "For so long the oldest waits.", labels=["kind"]
    )
    for one in snapshot.backlog:
        messages.add_metric([one.kind], one.count)
        oldest.add_metric([one.kind], one.seconds)
    yield messages
    yield oldest


def answers(figures: Sequence[Figure]) -> Iterator[Metric]:
    """By exact status as a counter; durations by class of status, or there would be too many."""
    counted = CounterMetricFamily(
        "picoauth_http_responses", "Answers, by status.", labels=["route", "status"]
    )
    timed = HistogramMetricFamily(
        "picoauth_http_request_duration_seconds",
        "How long answers took, by class of status.",
        labels=["route", "status"],
    )
    classes: dict[tuple[str, str], list[Figure]] = defaultdict(list)
    for figure in figures:
        counted.add_metric([figure.route, str(figure.status)], figure.count)
        classes[figure.route, f"{figure.status // 100}xx"].append(figure)
    for labels, some in sorted(classes.items()):
        timed.add_metric(list(labels), buckets(some), sum(one.seconds for one in some))
    yield counted
    yield timed


def buckets(some: Sequence[Figure]) -> list[tuple[str, int]]:
    spans = zip(*(one.within for one in some), strict=True)
    within = [(str(span[0][0]), sum(count for _, count in span)) for span in spans]
    return [*within, ("+Inf", sum(one.count for one in some))]
