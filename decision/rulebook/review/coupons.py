"""Coupon pools that nothing uses, and messages that take a code and do not say it."""

from __future__ import annotations

from decision.rulebook.content import content_for, prints_code
from decision.rulebook.review.context import ReviewContext, listed


def review_coupons(context: ReviewContext) -> None:
    """Finds pools without a message, and channels of messages on which the code is not printed."""
    definition, places = context.definition, context.places
    used = {message.coupon for message in definition.messages}
    for pool in definition.coupons:
        if pool.name not in used:
            message = f'no message gives codes of coupon pool "{pool.name}"'
            hint = f"add coupon: {pool.name} to a message, or delete the pool"
            context.report.warn(places.key("coupons", pool.name), message, hint, "unused-pool")
    for one in definition.messages:
        if not one.coupon:
            continue
        silent = [name for name in one.channels if not prints_code(content_for(one, name))]
        if silent:
            text = f'message "{one.name}" takes a code of "{one.coupon}" for each customer, '
            text += f"and its content on {listed(silent)} does not say it"
            hint = "print it: {{ coupon.code }}; or delete coupon"
            place = places.key("messages", one.name, "coupon")
            context.report.warn(place, text, hint, "unprinted-coupon")
