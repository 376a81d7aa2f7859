"""How fast jobs may be submitted, and what an answer of the service means for the next step (pure, without a clock)."""

from __future__ import annotations

import re
from typing import Literal

from attrs import evolve, frozen

Verdict = Literal["throttled", "unclear", "refused"]
"""What a failed create means: not carried out, send again slower; perhaps carried out, look it up; never will be."""

_THROTTLED = ("RESOURCE_EXHAUSTED",)
_REFUSED = (
    *("INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "FAILED_PRECONDITION", "OUT_OF_RANGE"),
    *("UNIMPLEMENTED", "UNAUTHENTICATED"),
)

# The service answers RESOURCE_EXHAUSTED for two things: too many requests in this minute, and a quota of machines or
# accelerators that the job exceeds, which no waiting helps. Only the words tell them apart.
_NO_QUOTA = "exceed quota limits"

_TOO_LARGE = "larger than max"
"""How gRPC says, with the same code, that a message is more than it sends."""

_NO_LOGIN = "Getting metadata from plugin failed"
"""How gRPC says that google-auth could make no token of the credentials."""


LOG_IN = "gcloud auth application-default login, or --cloud-key FILE with a service account's key"
"""What to do where the credentials are none."""


_NO_WAY = re.compile(
    "ConnectionPool|Connection aborted|Max retries|timed out|RemoteDisconnected|Temporary failure", re.I
)
"""How requests, by which google-auth asks for tokens, says that it did not reach the token service."""


def no_login(message: str) -> str:
    """Why no token is made of the credentials, where that is what a message of gRPC says; else nothing.

    That the token service was not reached is no reason: it may be the next time.
    """
    if _NO_LOGIN not in message or _NO_WAY.search(message):
        return ""
    return message.partition("with error: ")[2] or message


def judge(code: str, message: str) -> Verdict:
    """What a create that failed with this gRPC status code (by its name) means.

    UNAVAILABLE, DEADLINE_EXCEEDED and what else is not a plain refusal may come after the job was made: create is not
    idempotent, so it must be looked up before it is sent again.
    """
    if no_login(message):
        return "refused"  # the request never left this machine, though gRPC says UNAVAILABLE
    if code in _THROTTLED:
        return "refused" if _NO_QUOTA in message or _TOO_LARGE in message else "throttled"
    return "refused" if code in _REFUSED else "unclear"


def remedy(code: str, message: str, project: str, region: str) -> str:
    """What to do about a refusal."""
    low = message.lower()
    if _TOO_LARGE in message:
        return "a job's arguments and parameters are at most some megabytes: put the rest into a file of the project"
    if code == "RESOURCE_EXHAUSTED":
        quotas = f"https://console.cloud.google.com/iam-admin/quotas?project={project}"
        return f"ask for the quota in {region} at {quotas}, or take another machine, accelerator or --region"
    if code == "PERMISSION_DENIED" and "has not been used" in low:
        return f"gcloud services enable aiplatform.googleapis.com --project={project}"
    if code == "PERMISSION_DENIED" and "actas" in low.replace(".", "").replace("_", ""):
        return "ask for the role roles/iam.serviceAccountUser on that --service-account"
    if code == "PERMISSION_DENIED":
        return (
            f"ask the owner of the project {project} for the role roles/aiplatform.user, or choose another --project-id"
        )
    if code == "UNAUTHENTICATED":
        return LOG_IN
    if code == "NOT_FOUND":
        return f"are the project {project} and the region {region} what you meant?"
    if "machine type" in low:
        return f"choose another --machine-type, or a --region that has it (here: {region})"
    if "image" in low:
        return "push the image again; the service must be able to read it"
    return "what is wrong stands in the service's own words above; --dry-run prints the job"


# --- the rate ---


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


# --- a job whose fate is unknown ---

LOOK_AFTER = (0.5, 2.0, 5.0)
"""Seconds after a lost answer at which the job is looked for: the request may be under way still.

Only when it is not there at the last of them is it sent again.
"""

LOOKING = f"looking for {LOOK_AFTER[-1]:g} s whether some were on their way to Vertex AI already"
"""What is told to somebody who waits for the last of them."""


def next_look(looks: int) -> float | None:
    """The seconds to wait before the next look for a job, after so many in vain; None for: send it again."""
    times = (0.0, *LOOK_AFTER)
    return times[looks + 1] - times[looks] if looks < len(LOOK_AFTER) else None


PATIENCE = 600.0
"""Seconds for which the service may give no answer at all, before a submission gives up."""
