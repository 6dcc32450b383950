"""A log is judged under rules that it was not made with: what is gone, too long, capped, or of another tier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from decision.archive.replays import read_replays
from decision.core.clock import HOUR
from decision.core.document import Contact, ContactKind, ContactState
from decision.core.policy_builder import compile_policy
from decision.evaluation.log import open_log
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate, TargetPolicies
from tests.evaluation.archives import QUICK, edit, truth
from tests.learning.logs import (
    RULES,
    Deciding,
    Moment,
    World,
    definition_of,
    write_archive,
)


def test_what_could_not_have_been_logged_is_reported_and_not_guessed(archive: Path) -> None:
    """A new message, always best: its whole probability is without support, IPS gives it 0."""
    text = RULES.replace(
        "states:",
        "  new: {purpose: marketing, channels: [email], value: 1000, "
        "goal: {event: purchase, within: 1d}, content: {title: t}}\nstates:",
    )
    report = evaluate(
        archive,
        Candidate(rules=definition_of(text), exploration=None),
        EvaluationRequest(options=QUICK),
    )
    policy = report.policies[-1]
    assert policy.unsupported == pytest.approx(1 - report.holdout / report.log.judged)
    assert policy.metrics["responses"]["ips"].estimate.value == 0
    assert any("could not have happened in the log" in text for text in policy.cautions)
    assert any("100" in text for text in policy.cautions)


def test_a_message_or_placement_that_is_gone_is_silent_or_another(archive: Path) -> None:
    fewer = RULES.replace("  cups:", "  mugs:")
    report = evaluate(
        archive,
        Candidate(rules=definition_of(fewer)),
        EvaluationRequest(reward_model=False, options=QUICK),
    )
    gone = next(row for row in report.messages if row.message == "cups")
    assert gone.logged_share > 0 and gone.target_share == 0 == gone.target_responses.value
    moved = definition_of(RULES.replace("outbound:", "elsewhere:"))
    report = evaluate(
        archive, Candidate(rules=moved), EvaluationRequest(reward_model=False, options=QUICK)
    )
    assert any("lack their placement" in note for note in report.notes)
    assert report.messages[0].message == "" and report.messages[0].target_share == 1


def test_caps_count_the_contacts_of_each_document_by_their_own_names(world: World) -> None:
    """Each archived document numbers its kinds of contacts itself; caps must not mix them up."""
    text = RULES + "caps:\n  one: {of: {}, per: message, at_most: 1, within: 14d}\n"
    definition = definition_of(text)
    targets = TargetPolicies(Candidate(rules=definition, exploration=4.0), policies=None)  # type: ignore[arg-type]
    policy = compile_policy(definition)
    for moment in world.moments[:40]:
        for info in policy.candidates[:3]:
            kind = ContactKind(info.message, info.channel, info.purpose, info.category, info.tags)
            at = moment.at - HOUR
            contact = Contact(kind=0, at=at, state=ContactState.CONFIRMED, mark=0, tag=0)
            document = msgspec.structs.replace(moment.document, contacts=[contact], kinds=(kind,))
            known = moment._replace(document=document)
            fresh = Deciding(definition, 4.0).chances(known)
            found = targets.decide_again(_replay(known))
            here = np.zeros(len(policy.candidates))
            here[found.candidates] = found.targets["the whole"].probability
            assert here.tolist() == fresh.tolist()
            assert fresh[policy.candidates.index(info)] == 0


def test_a_target_gives_no_candidate_whose_text_is_too_long(world: World) -> None:
    text = RULES.replace("push: {cost: 0.02}", "push: {cost: 0.02, max_length: {title: 9}}")
    text = text.replace("{title: t}", '{title: "Hi {{ customer.country }}"}')
    targets = TargetPolicies(Candidate(rules=definition_of(text)), policies=None)  # type: ignore[arg-type]
    for country, fits in (("Chad", True), ("Guatemala", False)):
        channels = set()
        for moment in world.moments[:20]:
            document = msgspec.structs.replace(moment.document, attributes={"country": country})
            found = targets.decide_again(_replay(moment._replace(document=document)))
            channels |= {found.bound.policy.candidates[one].channel for one in found.candidates}
            chances = found.targets["the whole"]
            assert chances.probability.sum() + chances.silence == pytest.approx(1)
        assert ("push" in channels) is fits


def _replay(moment: Moment) -> Any:
    from decision.archive.replays import ArchivedReplay

    return ArchivedReplay(
        decision_id="d",
        decided_at=moment.at,
        customer_id=moment.document.customer_id,
        question=moment.question,
        document=moment.document,
        policy_version="-",
    )


TIERED = (
    RULES.replace(
        "purposes: {marketing: {consent: opt_out}}",
        "purposes: {marketing: {consent: opt_out}, urgent: {consent: not_required, tier: 1}}",
    )
    .replace("vip: {purpose: marketing", "vip: {purpose: urgent")
    .replace("{gte: 2000}", "{gte: 200}")
)


def test_tiers_are_known_to_targets_and_arms(world: World, tmp_path: Path) -> None:
    """None picks what waits for another tier, so every choice has support."""
    definition = definition_of(TIERED)
    archive = write_archive(tmp_path / "log", world, Deciding(definition, 4.0), 1)
    report = evaluate(archive, Candidate(exploration=60.0), EvaluationRequest(options=QUICK))
    policy = report.policies[-1]
    assert policy.unsupported == 0 and not policy.cautions
    value = truth(world, Deciding(definition, 60.0))
    for name in ("ips", "dr"):
        estimate = policy.metrics["responses"][name].estimate
        assert abs(estimate.value - value) < 3 * estimate.standard_error, name

    with open_log(archive, None) as log:
        targets = TargetPolicies(Candidate(exploration=4.0), log.policies, arms=True)
    first = waited = 0
    for replay, _ in zip(read_replays(archive), range(400), strict=False):
        found = targets.decide_again(replay)
        names = [found.bound.names[index] for index in found.candidates.tolist()]
        if "vip/email" in names:
            first += 1
            waited += len(names) > 1
            for name, chance in found.targets.items():
                assert chance.probability[names.index("vip/email")] == 1, name
                assert chance.silence == 0
        elif names:
            random = found.targets["random eligible"].probability
            assert random.tolist() == [1 / len(names)] * len(names)
    assert first > 20 and waited > 20


def test_what_only_a_later_selection_was_drawn_from_is_no_support(
    world: World, tmp_path: Path
) -> None:
    """Of a decision of several messages, the log has the probability of each one's last draw."""
    archive = write_archive(tmp_path / "log", world, Deciding(definition_of(TIERED), 4.0), 1)

    def drawn_later(row: dict[str, Any]) -> dict[str, Any]:
        for one in row["candidates"]:
            if one["selection_probability"] == 0:
                one["selection_probability"] = 0.5
        return row

    several = edit(archive, tmp_path / "several", "decisions", drawn_later)
    found = 0
    with open_log(archive, None) as log, open_log(several, None) as later:
        for (one, _), (other, _) in zip(log.read(), later.read(), strict=True):
            if one.message == "vip":
                assert one.support == other.support
                found += 1
    assert found > 20
