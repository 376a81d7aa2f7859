"""How fast jobs may be submitted to a service that limits the requests per minute (pure, without a clock)."""

from __future__ import annotations

from attrs import evolve, frozen


@frozen(kw_only=True)
class Pace:
    """How many requests may be sent: `per_minute` in any 60 seconds. Times are in seconds, of any one clock.

    `sent` holds the times of the requests that the service accepted or may yet accept. As long as it accepts all, the
    rate grows, since a project may have a larger quota than the documented one. When the service refuses one as too
    many, the quota is what it accepted in the last minute: nothing is sent for a while (`held_until`), and the rate
    grows again only after `grows_from`. `refusals` counts those in a row.
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
_SLOWEST = 6.0  # requests per minute: others may have used up the quota


def take(state: Pace, now: float) -> tuple[Pace, float]:
    """Count a request that may be sent now, and return 0 seconds; else return after how many seconds to ask again."""
    if now < state.held_until:
        return state, state.held_until - now
    recent = _recent(state.sent, now)
    most = int(state.per_minute)
    if len(recent) < most:
        return evolve(state, sent=(*recent, now)), 0.0
    return evolve(state, sent=recent), max(recent[-most] + _MINUTE - now, 0.001)


def accepted(state: Pace, now: float) -> Pace:
    """Return the pace after the service accepted a request."""
    full = len(_recent(state.sent, now)) >= int(state.per_minute)
    grown = state.per_minute * _GROWTH if full and now >= state.grows_from else state.per_minute
    return evolve(state, refusals=0, per_minute=grown)


def throttled(state: Pace, now: float, sent_at: float) -> Pace:
    """Return the pace after the service refused the request that was sent at `sent_at` as too many.

    Requests that are under way at the same time are refused together, and delay the rest only once.
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
