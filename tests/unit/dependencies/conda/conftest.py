"""A channel of small packages, and a cache of our own."""

from tests.small_channel import channel, own_cache

__all__ = ("channel", "own_cache")
