"""Fetching of URLs that strangers name: public addresses only, and little of it."""

from picoauth_fetch.fetcher import Answer, Fetcher
from picoauth_fetch.refusals import FetchBusy, FetchFailed, FetchRefused

__all__ = ["Answer", "FetchBusy", "FetchFailed", "FetchRefused", "Fetcher"]
