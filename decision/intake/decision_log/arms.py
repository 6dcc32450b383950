"""Arms: what each decision could have given, and with which probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from decision.core.errors import InputError, unknown
from decision.core.policy import Policy

SILENCE_WORD: Final = "silence"
_TOLERANCE: Final = 1e-6


class Arm(NamedTuple):
    """A message on a channel; both are empty where nothing is given."""

    message: str
    channel: str

    def __str__(self) -> str:
        return f"{self.message}/{self.channel}" if self.message else SILENCE_WORD


SILENCE: Final = Arm("", "")


class Arms:
    """The arms of a policy: which messages go on which channel, at which placement."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.index = {
            Arm(one.message, one.channel): number for number, one in enumerate(policy.candidates)
        }

    def order(self, arms: Iterable[Arm]) -> tuple[Arm, ...]:
        """The arms in the policy's order, silence at the end."""
        return tuple(sorted(set(arms), key=lambda arm: self.index.get(arm, len(self.index))))

    def at(self, placement: str, message: str, channel: str = "") -> Arm:
        """The arm of a row; a channel that is left out is the only one that it can be.

        Raises:
            InputError: the placement does not give this message, or not on this channel.
        """
        policy = self.policy
        if message not in policy.messages:
            raise unknown("message", "message", message, policy.messages)
        if channel and channel not in policy.channels:
            raise unknown("channel", "channel", channel, policy.channels)
        own = policy.messages[message].channels
        if channel and channel not in own:
            raise InputError(
                "channel",
                f'"{channel}" is no channel of {message}, which has {", ".join(own)}; '
                "correct the row, or add the channel to the message",
            )
        mask = policy.placement_masks[placement]
        there = [one for one in own if mask >> self.index[Arm(message, one)] & 1]
        if not there:
            raise InputError("placement", f"{placement} gives no {message}: see its `placements`")
        if channel and channel not in there:
            raise InputError(
                "channel",
                f'{placement} does not give {message} on "{channel}", but on {", ".join(there)}',
            )
        if not channel and len(there) > 1:
            raise InputError(
                "channel", f"is empty; {message} can be given on {', '.join(there)} at {placement}"
            )
        return Arm(message, channel or there[0])

    def resolve(self, one: Arm, placement: str, chosen: Arm) -> Arm:
        """An arm named without its channel: on the row's channel if it has that, else its first."""
        if not one.message or one.channel:
            return one
        if one.message == chosen.message:
            return chosen
        mask = self.policy.placement_masks[placement]
        own = [Arm(one.message, name) for name in self.policy.messages[one.message].channels]
        own = [arm for arm in own if mask >> self.index[arm] & 1] or own
        alike = Arm(one.message, chosen.channel)
        return alike if alike in own else own[0]

    def named(self, text: str, path: str) -> Arm:
        """An arm as people name it: `message`, `message/channel` or `silence`.

        The channel is empty where the text names none.

        Raises:
            InputError: the policy does not have it.
        """
        message, _, channel = text.strip().partition("/")
        if message not in self.policy.messages:
            if text.strip() in ("", SILENCE_WORD):
                return SILENCE
            raise unknown(path, "message", message, [*self.policy.messages, SILENCE_WORD])
        if channel and Arm(message, channel) not in self.index:
            own = self.policy.messages[message].channels
            raise InputError(path, f'"{channel}" is no channel of {message} ({", ".join(own)})')
        return Arm(message, channel)


class Uniform:
    """What `--uniform-over` claims: each row's arm was drawn from these, with equal chances."""

    def __init__(self, arms: Arms, names: Sequence[str]) -> None:
        """Raises InputError where a name is none of the policy's, or there are too few."""
        self.arms = [arms.named(name, "--uniform-over") for name in names]
        messages = [arm.message for arm in self.arms]
        for arm in self.arms:
            if self.arms.count(arm) > 1 or (not arm.channel and messages.count(arm.message) > 1):
                raise InputError("--uniform-over", f"names {arm.message or arm} twice")
        if len(self.arms) < 2:
            raise InputError("--uniform-over", "names one arm; a choice is among two at least")
        self.probability = 1 / len(self.arms)

    def __contains__(self, arm: Arm) -> bool:
        return arm in self.arms or Arm(arm.message, "") in self.arms

    def offered(self, arms: Arms, placement: str, chosen: Arm) -> dict[Arm, float]:
        """The arms of a row, with their probabilities."""
        found = (arms.resolve(one, placement, chosen) for one in self.arms)
        return dict.fromkeys(found, self.probability)


def check_probabilities(given: dict[Arm, float], chosen: Arm, own: float | None) -> float:
    """The probability of the chosen arm, from those of all arms of a row.

    Raises:
        InputError: they do not add up to 1, the chosen one has none, or `own` says otherwise.
    """
    total = sum(given.values())
    if abs(total - 1) > _TOLERANCE:
        raise InputError(
            "probability.*",
            f"they add up to {total:.6g}, must be 1 (what nothing was given with is "
            f"probability.{SILENCE_WORD})",
        )
    found = given.get(chosen, 0.0)
    if not found:
        raise InputError(
            f"probability.{chosen}", "is 0 or left out, but this is what the row was given"
        )
    if own is not None and abs(own - found) > _TOLERANCE:
        raise InputError("probability", f"is {own:g}, but probability.{chosen} is {found:g}")
    return found


def spread(arms: Sequence[Arm], chosen: Arm, probability: float) -> list[float]:
    """The probabilities of arms of which that of the chosen one alone is known.

    What it leaves is spread evenly over the others: nobody knows better.

    >>> spread([Arm("a", "email"), Arm("b", "email"), SILENCE], SILENCE, 0.5)
    [0.25, 0.25, 0.5]
    """
    rest = max(0.0, 1 - probability) / max(1, len(arms) - 1)
    return [probability if arm == chosen else rest for arm in arms]
