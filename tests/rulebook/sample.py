"""Good rule files: the example of the contract, with the definitions that it refers to."""

from __future__ import annotations

CONTRACT = """\
settings: {timezone: Asia/Shanghai, currency: CNY, week_starts: monday}

purposes:
  marketing: {consent: opt_in}          # only where granted
  tips:      {consent: opt_out}         # unless denied
  service:   {consent: not_required}

channels:
  push:
    cost: 0.01
    quiet_hours: {from: "22:00", to: "08:00", except: [service]}   # the customer's local time, `to` exclusive
    reservation: {expires_after: 3d, then: count}                  # the default; or `release` (in_app: 30m, release)
  wechat:
    reply_window:                       # open only after the customer acted; the widest open one counts
      - {opened_by: wechat.message, lasts: 48h, allows: 5}
      - {opened_by: wechat.scan, lasts: 1m, allows: 3}

placements:
  app_home: {channels: [in_app], fallback: hello, threshold: 0}      # a priority at or below the threshold is silence; 0 is the default
  outbound: {channels: [push, sms, email, wechat]}

messages:
  winback-coupon:
    purpose: marketing
    category: retention
    tags: [coupon]
    channels: [push, sms, email]
    placements: [outbound]              # left out: every placement that has one of its channels
    value: 12.0
    active: {from: 2026-11-01, until: 2026-12-01}     # until exclusive; a bare date is midnight in settings.timezone
    when: {customer.state: {in: [low, casual]}, events.purchase.days_since: {gte: 30}}
    budget: {total: 10000, per_day: 500}
    goal: {event: purchase, within: 7d}
    content: {title: "We miss you, {{ customer.first_name | default('there') }}"}

caps:
  email-weekly: {of: {channel: email, purpose: marketing}, at_most: 2, within: 7d}
  one-a-day:    {of: {purpose: marketing}, at_most: 1, within: calendar day}
  not-again:    {of: {}, per: message, at_most: 1, within: 14d}

suppressions:
  dismissed-twice: {event: message.dismissed, times: 2, within: 30d, per: message, pause: 60d}

states:                                 # first that holds is customer.state
  power:  {when: {events.app_open.active_days_28d: {gte: 20}}}
  core:   {when: {events.app_open.active_days_28d: {gte: 8}}}
  casual: {when: {events.app_open.active_days_28d: {gte: 2}}}
  low:    {}

rules:                                  # in file order; files in path order
  big-spender:   {when: {customer.lifetime_spend: {gte: 10000}}, set: {customer.tier: gold}}
  vip-no-coupon: {when: {customer.tier: gold}, exclude: {tags: [coupon]}}
  complaint:     {when: {customer.open_complaint: true}, allow_only: {purpose: [service]}}
  cart-rescue:   {when: {events.cart_add.count_2h: {gte: 1}, events.purchase.count_2h: 0}, boost: {tags: [cart]}, by: 1.5}

experiments:
  holdout: {share: 2%, seed: hold-2026, keeps: [service]}    # control group: only these purposes
  copy-test: {seed: copy-1, variants: {control: 50%, short: 50%}}     # readable as experiment.copy-test in `when`
"""
"""The example of the contract's section on rule files."""

MISSING_PIECES = """\
channels:
  in_app: {reservation: {expires_after: 30m, then: release}}
  sms: {cost: 0.05}
  email: {cost: 0.002}

messages:
  hello:
    purpose: service
    channels: [in_app]
    content: {title: 你好}
  cart-reminder:
    purpose: tips
    category: cart
    tags: [cart]
    channels: [push, wechat]
    value: 3
    when: {experiment.copy-test: short}
"""
"""Definitions that the example refers to."""

BUDGETS = """\
budgets: {sms-month: {of: {channel: sms}, spend: 10000, per: calendar month, pace: even}}
"""
"""What the contract says of budgets."""

CONTRACT_FILES = {
    "contract.yaml": CONTRACT,
    "more/budgets.yaml": BUDGETS,
    "more/missing.yaml": MISSING_PIECES,
}

SMALL = """\
purposes:
  marketing: {consent: opt_in}
channels:
  push: {cost: 0.01}
  email: {}
placements:
  outbound: {channels: [push, email]}
messages:
  coupon:
    purpose: marketing
    channels: [push]
    value: 1
    tags: [sale]
"""
"""A small policy to which each test adds its own part."""
