"""How fast jobs may be submitted to a service that limits the requests per minute (pure, without a clock)."""

from __future__ import annotations

from attrs import evolve, frozen


@frozen(kw_only=True)
class Pace:
    """How many creates may go out: `per_minute` in any 60 seconds; times are seconds of any one clock.

    `sent` are the times of those that the service took or may yet take. As long as it takes all, the rate grows, since
    a project may have asked for more than the documented quota. When it says that it is too much, what it took in the
    last minute is the quota, nothing goes out for a while, and the rate grows again only after `grows_from`.
    """

    per_minute: float
    sent: tuple[float, ...] = ()
    held_until: float = float("-inf")
    refusals: int = 0
    grows_from: float = float("-inf")


_MINUTE = 60.0
_FIRST_HOLD = 2.0  # seconds; doubled with each refusal in a row
_LONGEST_HOLD = 64.0
_GROWTH = 1.5
_GROWS_AGAIN = 120.0  # seconds after a refusal
_SLOWEST = 6.0  # creates per minute: others may have used up the quota


def take(state: Pace, now: float) -> tuple[Pace, float]:
    """Leave to send one, which is then counted; else the seconds after which to ask again, which are then not 0."""
    if now < state.held_until:
        return state, state.held_until - now
    recent = _recent(state.sent, now)
    most = int(state.per_minute)
    if len(recent) < most:
        return evolve(state, sent=(*recent, now)), 0.0
    return evolve(state, sent=recent), max(recent[-most] + _MINUTE - now, 0.001)


def accepted(state: Pace, now: float) -> Pace:
    """The pace after the service accepted one."""
    full = len(_recent(state.sent, now)) >= int(state.per_minute)
    grown = state.per_minute * _GROWTH if full and now >= state.grows_from else state.per_minute
    return evolve(state, refusals=0, per_minute=grown)


def throttled(state: Pace, now: float, sent_at: float) -> Pace:
    """The pace after the service said of the create that was sent at `sent_at` that it is too much.

    Those that were under way at the same time say so together, and hold the rest up only once.
    """
    sent = list(_recent(state.sent, now))
    if sent_at in sent:
        sent.remove(sent_at)
    slower = evolve(state, sent=tuple(sent), per_minute=min(max(float(len(sent)), _SLOWEST), state.per_minute))
    if now < state.held_until:
        return slower
    hold = min(_FIRST_HOLD * 2**state.refusals, _LONGEST_HOLD)
    return evolve(slower, held_until=now + hold, refusals=min(state.refusals + 1, 10), grows_from=now + _GROWS_AGAIN)


def _recent(times: tuple[float, ...], now: float) -> tuple[float, ...]:
    if times and times[0] > now - _MINUTE:
        return times
    return tuple(at for at in times if at > now - _MINUTE)
