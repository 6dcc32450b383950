"""Every error has its code and its exact place, which § marks in each case."""

from __future__ import annotations

import pytest

from decision.rulebook import messages
from decision.rulebook.diagnostics import CODES, WARNINGS, Diagnostic
from decision.rulebook.reader import load_files
from tests.rulebook.sample import SMALL

MARK = "§"
PLACEMENT = "placements: {{p: {{channels: [push], delivery: {}}}}}"


def marked(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without its marks, and their places."""
    places: list[tuple[int, int]] = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        while MARK in line:
            places.append((number, line.index(MARK) + 1))
            line = line.replace(MARK, "", 1)
        lines[number - 1] = line
    return "\n".join(lines), places


def check(text: str) -> tuple[list[Diagnostic], list[tuple[int, int]]]:
    """The diagnostics of a file beside the small policy, and the marked places."""
    plain, places = marked(text)
    found = load_files({"a.yaml": SMALL, "b.yaml": plain}).diagnostics
    assert all(one.file == "rules/b.yaml" for one in found), found
    for one in found:
        assert one.code in CODES
        if one.line:
            assert one.source_line == plain.split("\n")[one.line - 1]
    return found, places


def message(body: str) -> str:
    """A message of the small policy with something more in it."""
    return (
        f"messages:\n  m:\n    purpose: marketing\n    channels: [push]\n    value: 1\n    {body}\n"
    )


def budget(body: str) -> str:
    """A budget of all messages."""
    return f"budgets: {{m: {{of: {{}}, {body}}}}}\n"


def counted(channel: str) -> str:
    """A message on a channel, and a budget that counts what it costs."""
    own = f"{{purpose: marketing, channels: [{channel}], value: 1, placements: [p]}}"
    place = f"placements: {{p: {{channels: [{channel}]}}}}\n"
    return f"messages: {{m: {own}}}\n{place}budgets: {{b: {{of: {{}}, spend: 5}}}}\n"


def when(body: str) -> str:
    return message(f"when: {body}")


STATES = "states: {low: {}}\n"
TEST = "experiments: {copy: {seed: s, variants: {short: 50%, long: 50%}}, hold: {seed: h, share: 2%}}\n"

CASES: list[tuple[str, str, str]] = [
    # (code, the file with § at the place, words in the message or hint)
    # --- derived events
    ("missing-key", "events: {§tea: {each: items}}", '"of"'),
    ("unknown-key", "events: {tea: {of: purchase, §from: items}}", "of, each, when, for"),
    ("wrong-type", "events: {tea: §purchase}", "mapping"),
    ("bad-name", "events: {§message.tea: {of: purchase, each: items}}", "call it tea"),
    ("unknown-name", "events: {tea: {of: §message.open, each: items}}", 'did you mean "message.opened"?'),
    ("bad-value", "events: {tea: {of: purchase, each: §event.items}}", "write each: items"),
    ("bad-value", "events: {tea: {of: purchase, for: §inviter_id}}", "write for: event.inviter_id"),
    ("bad-value", "events: {tea: {of: purchase, for: §customer.inviter}}", "write for: event.inviter"),
    ("wrong-type", "events: {tea: {of: purchase, for: §7}}", "text"),
    ("no-effect", "events: {tea-line: {of: purchase, each: items}}\nrules: {r: {when: {customer.a: {lt: {field: §events.tea-lines.count_7d}}}, set: {customer.b: 1}}}", "did you mean events.tea-line.count_7d"),
    ("unknown-field", "events: {tea: {of: purchase, when: {event.a: {lt: {field: §customer.b}}}}}", "cannot use customer.b"),
    ("unknown-field", "events: {tea: {of: purchase, when: {§customer.tier: gold}}}", "when: {events.tea.count_7d: {gte: 1}, customer.tier: …}"),
    ("unknown-field", "events: {tea: {of: purchase, when: {any: [{event.a: 1}, {§time.hour: 9}]}}}", "can change"),
    ("unknown-field", "events: {tea: {of: purchase, when: {event.price: {gt: {field: §customer.limit}}}}}", "can change"),
    ("never-holds", "events: {tea: {of: purchase, when: {event.a: {eq: tea, §ne: tea}}}}", 'derived event "tea"'),
    ("unknown-field", "events: {tea: {of: purchase, when: {§category: tea}}}", 'did you mean "event.category"?'),
    ("wrong-type", "events: {tea: {of: §[purchase, order], each: items}}", "write of: purchase"),
    ("bad-value", "events: {tea: {of: §events.purchase, each: items}}", "write of: purchase"),
    ("bad-value", "events: {tea: {of: purchase, for: §'{{ event.friend }}'}}", "write for: event.friend"),
    ("conflict", "events: {purchase: {of: §purchase, each: items}}", "purchase-line: {of: purchase}"),
    ("wrong-type", "scores: {s: {adds: §[visit, order], half_life: 7d}}", "{visit: 1, order: 1}"),
    ("wrong-type", "scores: {s: {adds: §visit, half_life: 7d}}", "{visit: 1}"),
    ("wrong-type", "scores: {s: {adds: {visit: §'2.5'}, half_life: 7d}}", "write 2.5, without quotes"),
    ("bad-value", "scores: {s: {adds: {order: §{property: event.amount}}, half_life: 7d}}", "{property: amount}"),
    ("bad-value", "scores: {s: {adds: {§events.order: 1}, half_life: 7d}}", "write order"),
    ("no-effect", "events: {tea-line: {of: purchase, each: items}}\n" + when("{§events.tea-lines.count_7d: {gte: 1}}"), "did you mean events.tea-line.count_7d?"),
    ("no-effect", "events: {§tea: {of: purchase}}", "counts the same as purchase"),
    ("conflict", "events: {tea: {of: §tea, each: items}}", "tea → tea"),
    ("conflict", "events: {a: {of: §b, each: x}, b: {of: c, when: {event.x: 1}}, c: {of: a, when: {event.y: 1}}}", "a → b → c → a"),
    ("conflict", "events: {a: {of: b, §each: x}, b: {of: purchase, each: y}}", "write of: purchase"),
    ("unknown-name", "events: {tea: {of: purchase, each: items}}\n" + message("goal: {event: §tea, within: 7d}"), "write event: purchase"),
    ("unknown-name", "events: {tea: {of: purchase, each: items}}\n" + when("{event.type: §tea}"), "write event.type: purchase"),
    # --- scores
    ("missing-key", "scores: {§s: {adds: {visit: 1}}}", '"half_life"'),
    ("missing-key", "scores: {§s: {half_life: 7d}}", '"adds"'),
    ("wrong-type", "scores: {s: {adds: §{}, half_life: 7d}}", "{page_view: 1}"),
    ("wrong-type", "scores: {s: {adds: {order: §amount}, half_life: 7d}}", "{property: amount}"),
    ("wrong-type", "scores: {s: {adds: {order: §true}, half_life: 7d}}", "a number"),
    ("unknown-key", "scores: {s: {adds: {order: {property: a, §times: 2}}, half_life: 7d}}", "property"),
    ("bad-value", "scores: {s: {adds: {order: §0}, half_life: 7d}}", "adds nothing"),
    ("unknown-name", "scores: {s: {adds: {§message.click: 1}, half_life: 7d}}", 'did you mean "message.clicked"?'),
    ("bad-value", "scores: {s: {adds: {order: 1}, half_life: §0d}}", "0d"),
    ("bad-value", "scores: {s: {adds: {order: 1}, half_life: §-3d}}", "-3d"),
    ("bad-value", "scores: {s: {adds: {order: 1}, half_life: §5m}}", "at least 10m"),
    ("bad-value", "scores: {s: {adds: {order: 1}, half_life: §9999d}}", "at most 3660d"),
    ("wrong-type", "scores: {s: {adds: {order: 1}, half_life: §30}}", "30d for days"),
    ("unknown-name", "scores: {interest: {adds: {order: 1}, half_life: 7d}}\n" + when("{§score.intrest: {gte: 5}}"), 'did you mean "interest"?'),
    ("wrong-type", "scores: {interest: {adds: {order: 1}, half_life: 7d}}\n" + when("{score.interest: §high}"), "a number"),
    ("never-holds", "scores: {interest: {adds: {order: 1}, half_life: 7d}}\n" + when("{score.interest: {§lt: 0}}"), "score.interest"),
    ("unknown-field", when("{§score: {gte: 5}}"), "score.<name>"),
    # --- calendars and quiet hours
    ("bad-value", "calendars: {c: {dates: [§2027-02-30]}}", "February 2027 has 28 days"),
    ("bad-value", "calendars: {c: {dates: [§2027-13-01]}}", "months are 01 to 12"),
    ("bad-value", "calendars: {c: {dates: [§2027-02-12..2027-02-05]}}", "write 2027-02-05..2027-02-12"),
    ("bad-value", "calendars: {c: {dates: [§2027-02-05...2027-02-12]}}", "write 2027-02-05..2027-02-12"),
    ("bad-value", "calendars: {c: {dates: [§2027-02-05–2027-02-12]}}", "write 2027-02-05..2027-02-12"),
    ("bad-value", "calendars: {c: {dates: [§2027-02-05 - 2027-02-12]}}", "write 2027-02-05..2027-02-12"),
    ("bad-value", "calendars: {c: {dates: [§2027-02-05 to 2027-02-12]}}", "write 2027-02-05..2027-02-12"),
    ("bad-value", "calendars: {c: {dates: [§2027-02-05至2027-02-12]}}", "write 2027-02-05..2027-02-12"),
    ("bad-value", "calendars: {c: {dates: [§2027/2/5]}}", "write 2027-02-05"),
    ("bad-value", "calendars: {c: {dates: [§2027年2月5日]}}", "write 2027-02-05"),
    ("bad-value", "calendars: {c: {dates: §tomorrow}}", "write 2027-05-01"),
    ("bad-value", "calendars: {c: {dates: §[]}}", "delete the calendar"),
    ("wrong-type", "calendars: {c: {dates: [§20270205]}}", "write 2027-02-05"),
    ("wrong-type", "calendars: {c: {dates: [§{from: 2027-02-05, to: 2027-02-12}]}}", "write 2027-02-05..2027-02-12"),
    ("missing-key", "calendars: {§c: {}}", '"dates"'),
    ("no-effect", "calendars: {c: {dates: [2027-05-01, §2027-05-01]}}", "delete one of them"),
    ("no-effect", "calendars: {c: {dates: [2027-05-01..2027-05-05, 2027-06-01, §2027-05-04..2027-05-09]}}", "delete one of them"),
    ("no-effect", "calendars: {c: {dates: [§2027-05-01..2027-05-01]}}", "write 2027-05-01"),
    ("unknown-name", "calendars: {spring: {dates: 2027-05-01}}\n" + when("{§time.in.sprung: true}"), 'did you mean "spring"?'),
    ("unknown-name", when("{§time.in.spring: true}"), "no calendars are defined"),
    ("wrong-type", "calendars: {spring: {dates: 2027-05-01}}\n" + when("{time.in.spring: §yes}"), "true or false"),
    ("unknown-name", "channels: {c: {quiet_hours: {from: 22:00, to: 08:00, in: §spring}}}", "no calendars are defined"),
    ("unknown-name", "channels: {c: {quiet_hours: {from: 22:00, to: 08:00, on: [§Saturday]}}}", 'did you mean "sat"?'),
    ("unknown-name", "channels: {c: {quiet_hours: {from: 22:00, to: 08:00, on: §weekend}}}", "write on: [sat, sun]"),
    ("unknown-key", "channels: {c: {quiet_hours: [{from: 22:00, to: 08:00, §unles: {placement: x}}]}}", 'did you mean "unless"?'),
    ("bad-value", "channels: {c: {quiet_hours: §{from: 00:00, to: 00:00}}}", 'write to: "24:00"'),
    ("bad-value", "channels: {c: {quiet_hours: §[]}}", "delete the key"),
    ("bad-value", "channels: {c: {quiet_hours: {from: 22:00, to: 08:00, §unless: {}}}}", "write a condition"),
    ("unknown-field", "channels: {c: {quiet_hours: {from: 22:00, to: 08:00, unless: {§custommer.vip: true}}}}", "did you mean customer"),
    ("never-holds", "channels: {c: {quiet_hours: {from: 22:00, to: 08:00, unless: {time.hour: {§lt: 0}}}}}", "from 0 to 23"),
    ("no-effect", "calendars: {may: {dates: 2027-05-01}}\nchannels: {c: {quiet_hours: {from: 22:00, to: 08:00, in: may, §on: sun}}}", 'delete "on"'),
    ("no-effect", "channels: {c: {quiet_hours: [{from: 22:00, to: 08:00}, §{from: 23:00, to: 07:00, on: sat}]}}", "delete one of the two"),
    ("no-effect", "channels: {c: {quiet_hours: [{from: 22:00, to: 08:00}, §{from: 22:00, to: 08:00}]}}", "delete one of the two"),
    # --- events in time
    ("unknown-field", when("{§events.a.since.b.since.c: true}"), "two ways"),
    ("unknown-field", when("{§events.cart.since: true}"), "events.<type>.since.<other type>"),
    ("unknown-field", when("{§events.purchase.count_7d.push: 1}"), "message.…"),
    ("unknown-name", when("{§events.message.clicked.count_7d.pussh: 1}"), "push"),
    ("unknown-name", when("{§events.message.clickt.count_7d.push: 1}"), "message.clicked"),
    ("unknown-name", when("{§events.cart.since.message.send: true}"), "message.sent"),
    ("unknown-name", when("{§contacts.marketin.count_7d: 0}"), 'did you mean "marketing"?'),
    ("no-effect", when("{§events.a.since.b.count_7d: 1}"), "a.since.b"),
    ("wrong-type", when("{events.cart.since.purchase: §1}"), "true or false"),
    ("wrong-type", when("{events.cart.last_at: {gt: §20261101}}"), "write a time"),
    ("bad-value", when("{events.cart.last_at: {gt: §yesterday}}"), "2026-11-01T10:00:00+08:00"),
    ("bad-value", when("{events.cart.last_at: {gt: §2026-11-01T10:00:00}}"), "add the offset"),
    ("wrong-type", when("{events.cart.last_at: {§contains: 2026}}"), "a time"),
    ("conflict", when("{events.cart.last_at: {gt: {field: §customer.renewal}}}"), "days_since"),
    ("conflict", when("{customer.renewal: {gt: {field: §events.cart.last_at}}}"), "days_since"),
    ("conflict", when("{events.cart.last_at: {in: {field: §events.buy.last_at}}}"), "gt, gte"),
    ("never-holds", when("{§events.cart.since.cart: true}"), "events.cart.since.cart"),
    # --- keys
    ("unknown-key", "§mesages: {}", 'did you mean "messages"?'),
    ("unknown-key", message("§chanels: [push]"), 'did you mean "channels"?'),
    ("unknown-key", message("§colour: red"), "one of purpose, category"),
    ("unknown-key", "settings: {§time_zone: UTC}", 'did you mean "timezone"?'),
    ("unknown-key", "purposes: {p: {consent: opt_in, §why: x}}", "one of consent"),
    ("unknown-key", "caps: {c: {of: {§messages: [coupon]}, at_most: 1, within: 7d}}", '"message"'),
    ("unknown-key", "rules: {r: {exclude: {§message: coupon}}}", '"messages"'),
    ("unknown-key", message("goal: {event: purchase, within: 7d, §after: 1d}"), "event, within"),
    ("unknown-key", "channels: {c: {quiet_hours: {from: 22:00, §until: 08:00, to: 08:00}}}", "from"),
    ("unknown-key", message("budget: {total: 1, §per_week: 3}"), "per_day"),
    ("unknown-key", message("active: {§starts: 2026-11-01, from: 2026-11-01}"), "from"),
    ("unknown-key", "caps: {c: {of: {}, §at_most:3, at_most: 1, within: 7d}}", "space after the colon"),
    ("missing-key", "purposes: {§p: {}}", '"consent"'),
    ("missing-key", "placements: {§p: {}}", '"channels"'),
    ("missing-key", "messages: {§m: {channels: [push], value: 1}}", '"purpose"'),
    ("missing-key", "messages: {§m: {purpose: marketing}}", '"channels"'),
    ("missing-key", "caps: {§c: {at_most: 1, within: 7d}}", '"of"'),
    ("missing-key", "caps: {§c: {of: {}, within: 7d}}", '"at_most"'),
    ("missing-key", "caps: {§c: {of: {}, at_most: 1}}", '"within"'),
    ("missing-key", "suppressions: {§s: {event: message.dismissed, times: 2, within: 30d}}", "pause"),
    ("missing-key", message("§goal: {event: purchase}"), '"within"'),
    ("missing-key", message("§budget: {}"), "total"),
    ("missing-key", message("§active: {}"), "until"),
    ("missing-key", "channels: {c: {§quiet_hours: {from: 22:00}}}", '"to"'),
    ("missing-key", "channels: {c: {reply_window: [§{lasts: 1h}]}}", '"opened_by"'),
    ("missing-key", "rules: {§r: {when: {customer.a: 1}}}", "does nothing"),
    ("missing-key", "rules: {§r: {boost: {}}}", '"by"'),
    ("missing-key", "experiments: {§e: {share: 2%}}", '"seed"'),
    ("missing-key", "experiments: {§e: {seed: s}}", "neither share nor variants"),
    # --- names
    ("duplicate-name", "messages: {§coupon: {purpose: marketing, channels: [push], value: 1}}", "rules/a.yaml:9"),
    ("duplicate-name", "channels: {§push: {}}", "rules/a.yaml:4"),
    ("duplicate-name", message("tags: [a, b, §a]"), '"a" twice'),
    ("duplicate-name", "placements: {p: {channels: [push, §push]}}", '"push" twice'),
    ("duplicate-key", message("value: 1\n    §value: 2").replace("value: 1\n    value: 1", "value: 1"), "line 5"),
    ("bad-name", "purposes: {§a/b: {consent: opt_in}}", "/"),
    ("bad-name", "purposes: {§a*: {consent: opt_in}}", "*"),
    ("bad-name", 'purposes: {§" a": {consent: opt_in}}', "cannot contain"),
    ("bad-name", 'purposes: {§"a\\tb": {consent: opt_in}}', "U+0009"),
    ("bad-name", f"purposes: {{§{'x' * 129}: {{consent: opt_in}}}}", "128"),
    ("bad-name", 'experiments: {e: {seed: s, variants: {§"a?": 50%, b: 50%}}}', "variant"),
    ("unknown-name", "messages: {m: {purpose: §marketting, channels: [push], value: 1}}", 'did you mean "marketing"?'),
    ("unknown-name", "messages: {m: {purpose: §push, channels: [push], value: 1}}", '"push" is one of the channels'),
    ("unknown-name", "messages: {m: {purpose: marketing, channels: [push, §emial], value: 1}}", '"email"'),
    ("unknown-name", "messages: {m: {purpose: marketing, channels: §sms, value: 1}}", "one of push, email"),
    ("unknown-name", message("placements: [§outbond]"), 'did you mean "outbound"?'),
    ("unknown-name", "placements: {p: {channels: [push], fallback: §cupon}}", 'did you mean "coupon"?'),
    ("unknown-name", "channels: {c: {quiet_hours: {from: 22:00, to: 08:00, except: [§servise]}}}", "marketing"),
    ("unknown-name", "caps: {c: {of: {channel: §emial}, at_most: 1, within: 7d}}", '"email"'),
    ("unknown-name", "caps: {c: {of: {tags: [sale, §sael]}, at_most: 1, within: 7d}}", '"sale"'),
    ("unknown-name", "caps: {c: {of: {category: §x}, at_most: 1, within: 7d}}", "no categories"),
    ("unknown-name", "caps: {c: {of: {message: §coup*}, at_most: 1, within: 7d}}", '"coupon"'),
    ("unknown-name", "rules: {r: {exclude: {messages: [coupon, §copon]}}}", '"coupon"'),
    ("unknown-name", "rules: {r: {allow_only: {purpose: §service}}}", "marketing"),
    ("unknown-name", "experiments: {e: {seed: s, share: 2%, keeps: [§service]}}", "marketing"),
    ("unknown-name", STATES + when("{customer.state: §lwo}"), '"low"'),
    ("unknown-name", STATES + when("{customer.state: {in: [low, §hgih]}}"), "use low"),
    ("unknown-name", when("{placement: §outbond}"), '"outbound"'),
    ("unknown-name", when("{contacts.§pusch.count_7d: 0}").replace("§", "").replace("{contacts", "{§contacts"), '"push"'),
    ("unknown-name", TEST + when("{experiment.copy: §shrt}"), '"short"'),
    ("unknown-name", TEST + when("{§experiment.coppy: short}"), '"copy"'),
    ("unknown-name", when("{time.weekday: §monday}"), "write mon"),
    ("unknown-name", "suppressions: {s: {event: §message.dismised, times: 2, within: 3d, pause: 3d}}", "message.dismissed"),
    ("unknown-name", message("goal: {event: §message.click, within: 7d}"), "message.clicked"),
    ("unknown-name", when("{§events.message.open.count_7d: 0}"), "message.opened"),
    ("unknown-name", "settings: {timezone: §Asia/Shangai}", '"Asia/Shanghai"'),
    ("unknown-name", "settings: {timezone: §上海}", "no time zone"),
    ("unknown-name", "settings: {timezone: §localtime}", "no time zone"),
    ("unknown-name", "settings: {timezone: §right/Asia/Tokyo}", 'did you mean "Asia/Tokyo"?'),
    ("unknown-name", "settings: {timezone: §../../etc/passwd}", "no time zone"),
    # --- values
    ("bad-value", budget("spend: §0"), "more than 0"),
    ("bad-value", budget("spend: §-5"), "more than 0"),
    ("bad-value", budget("spend: §0.0000004"), "write 0.000001"),
    ("bad-value", budget("spend: §12.3456789"), "write 12.345679"),
    ("bad-value", budget("spend: §2000000000"), "at most 1000000000"),
    ("bad-value", budget("at_most: §0"), "at least 1"),
    ("bad-value", budget("at_most: §2.5"), "whole number"),
    ("bad-value", budget("spend: 5, per: §month"), "write per: calendar month"),
    ("bad-value", budget("spend: 5, per: §Calendar  Month"), "write per: calendar month"),
    ("bad-value", budget("spend: 5, per: §daily"), "write per: calendar day"),
    ("bad-value", budget("spend: §1e-300"), "1e-300, finer"),
    ("bad-value", budget("spend: 5, per: §30d"), "left out, it is of all time"),
    ("bad-value", budget("spend: 5, per: §calendar year"), "calendar day, calendar week or"),
    ("bad-value", budget("spend: 5, per: calendar day, pace: §evn"), 'did you mean "even"?'),
    ("wrong-type", budget('spend: §"10,000"'), "without quotes"),
    ("wrong-type", budget("spend: §10000 CNY"), "without quotes"),
    ("wrong-type", budget("spend: §true"), "a number"),
    ("wrong-type", budget("spend: 5, per: §30"), "a period such as calendar month"),
    ("conflict", budget("spend: 5, §at_most: 3"), "keep spend for money"),
    ("missing-key", budget("spend: 5, §pace: even"), "add per: calendar month"),
    ("missing-key", "budgets: {§m: {of: {}}}", "add spend: 10000"),
    ("missing-key", "budgets: {§m: {spend: 5}}", "add of"),
    ("unknown-key", budget("spend: 5, §perr: calendar day"), 'did you mean "per"?'),
    ("unknown-key", "budgets: {m: {of: {§messages: coupon}, spend: 5}}", 'did you mean "message"?'),
    ("unknown-name", "budgets: {m: {of: {channel: §psh}, spend: 5}}", 'did you mean "push"?'),
    ("bad-value", "channels: {sms: {cost: §0.0000004}}\n" + counted("sms"), "write 0.000001"),
    ("bad-value", "purposes: {p: {consent: opt_in, tier: §0}}", "at least 1"),
    ("bad-value", "purposes: {p: {consent: opt_in, tier: §10}}", "at most 9"),
    ("bad-value", "purposes: {p: {consent: opt_in, tier: §1.5}}", "whole number"),
    ("wrong-type", 'purposes: {p: {consent: opt_in, tier: §"1"}}', "from 1 to 9"),
    ("wrong-type", "purposes: {p: {consent: opt_in, tier: §high}}", "the lowest goes first"),
    ("wrong-type", "purposes: {p: {consent: opt_in, tier: §true}}", "from 1 to 9"),
    ("unknown-key", "purposes: {p: {consent: opt_in, §tiers: 1}}", '"tier"'),
    ("bad-value", "caps: {c: {of: {}, at_most: §0, within: 7d}}", "at least 1"),
    ("bad-value", "caps: {c: {of: {}, at_most: §1.5, within: 7d}}", "whole number"),
    ("bad-value", "caps: {c: {of: {}, at_most: 1, within: §91d}}", "at most 90d"),
    ("bad-value", "caps: {c: {of: {}, at_most: 1, within: §0d}}", "not a duration"),
    ("bad-value", "caps: {c: {of: {}, at_most: 1, within: §day}}", "calendar day"),
    ("bad-value", "caps: {c: {of: {}, at_most: 1, within: §forever}}", "write within: ever"),
    ("bad-value", "caps: {c: {of: {}, at_most: 1, within: §once}}", "write within: ever"),
    ("bad-value", "caps: {c: {of: {}, at_most: 1, within: §Ever}}", "write within: ever"),
    ("wrong-type", "caps: {c: {of: {}, at_most: 1, within: §[ever]}}", "a duration"),
    ("wrong-type", "caps: {c: {of: {}, at_most: §customer.n, within: 7d}}", "{field: customer.n, default: 3}"),
    ("wrong-type", "caps: {c: {of: {}, at_most: §[1, 2], within: 7d}}", "a number"),
    ("wrong-type", 'caps: {c: {of: {}, at_most: §"3", within: 7d}}', "without quotes"),
    ("missing-key", "caps: {c: {of: {}, §at_most: {default: 3}, within: 7d}}", '"field"'),
    ("missing-key", "caps: {c: {of: {}, at_most: {§field: customer.n}, within: 7d}}", "{field: customer.n, default: 3}"),
    ("missing-key", "caps: {c: {of: {}, at_most: {§field: events.buy.sum_x_7d}, within: 7d}}", '"default"'),
    ("bad-value", "caps: {c: {of: {}, at_most: {field: customer.n, default: §-1}, within: 7d}}", "at least 0"),
    ("bad-value", "caps: {c: {of: {}, at_most: {field: customer.n, default: §1.5}, within: 7d}}", "whole number"),
    ("wrong-type", "caps: {c: {of: {}, at_most: {field: customer.n, default: §none}, within: 7d}}", "a number"),
    ("wrong-type", "caps: {c: {of: {}, at_most: {field: customer.n, default: §true}, within: 7d}}", "a number"),
    ("wrong-type", "caps: {c: {of: {}, at_most: {field: §7, default: 3}, within: 7d}}", "text"),
    ("conflict", "caps: {c: {of: {}, at_most: {field: §placement, default: 3}, within: 7d}}", "is text"),
    ("unknown-field", "caps: {c: {of: {}, at_most: {field: §weekly_limit, default: 3}, within: 7d}}", "customer.weekly_limit"),
    ("unknown-key", "caps: {c: {of: {}, at_most: {field: customer.n, §defualt: 3, default: 3}, within: 7d}}", '"default"'),
    ("unknown-key", "caps: {c: {of: {}, at_most: {§lte: 3, field: customer.n, default: 3}, within: 7d}}", '"lte"'),
    ("unknown-name", "caps: {c: {of: {}, at_most: {field: §contacts.emial.count_7d}, within: 7d}}", '"email"'),
    ("wrong-type", "caps: {c: {of: {}, when: §gold, at_most: 1, within: 7d}}", "mapping of fields"),
    ("unknown-field", "caps: {c: {of: {}, when: {§vip: gold}, at_most: 1, within: 7d}}", "customer.vip"),
    ("unknown-key", "caps: {c: {of: {}, §if: {customer.tier: gold}, at_most: 1, within: 7d}}", '"if"'),
    ("bad-value", "caps: {c: {of: {}, when: {customer.n: §{gt: 5, lt: 3}}, at_most: 1, within: 7d}}", "change one"),
    ("bad-value", "caps: {c: {of: {}, at_most: 1, within: §calendar year}}", "calendar month"),
    ("bad-value", "caps: {c: {of: {}, at_most: 1, within: 7d, per: §mesage}}", '"message"'),
    ("bad-value", "caps: {c: {of: {tags: §[]}, at_most: 1, within: 7d}}", "empty list"),
    ("bad-value", "suppressions: {s: {event: x, times: §0, within: 3d, pause: 3d}}", "at least 1"),
    ("bad-value", "suppressions: {s: {event: x, times: 1, within: 3d, pause: §367d}}", "366d"),
    ("bad-value", "experiments: {e: {seed: s, share: §120%}}", "100%"),
    ("bad-value", "experiments: {e: {seed: s, share: §2}}", "write 2%"),
    ("bad-value", "experiments: {e: {seed: s, share: §-0.1}}", "0 to 1"),
    ("bad-value", 'experiments: {e: {seed: §"", share: 2%}}', "empty text"),
    ("bad-value", "experiments: {e: {seed: s, variants: §{a: 50%, b: 40%}}}", "90%"),
    ("bad-value", "experiments: {e: {seed: s, variants: §{a: 0.5, b: 0.4}}}", "90%"),
    ("bad-value", "experiments: {e: {seed: s, variants: {a: §110%, b: 1%}}}", "100%"),
    ("bad-value", "channels: {c: {cost: §-0.01}}", "at least 0"),
    ("bad-value", "channels: {c: {quiet_hours: {from: §24:00, to: 08:00}}}", "00:00"),
    ("bad-value", "channels: {c: {quiet_hours: {from: §9:00, to: 08:00}}}", "09:00"),
    ("bad-value", "channels: {c: {quiet_hours: §{from: 22:00, to: 22:00}}}", "no length"),
    ("bad-value", "channels: {c: {reservation: {expires_after: §1w}}}", "not a duration"),
    ("bad-value", "channels: {c: {reservation: {then: §relase}}}", '"release"'),
    ("bad-value", "channels: {c: {reply_window: §[]}}", "empty list"),
    ("bad-value", "channels: {c: {reply_window: {opened_by: x, lasts: 1h, allows: §0}}}", "at least 1"),
    ("bad-value", "channels: {c: {max_length: {title: §0}}}", "at least 1"),
    ("bad-value", "placements: {p: {channels: §[]}}", "empty list"),
    ("bad-value", message("placements: §[]"), "empty list"),
    ("bad-value", message("value: 1").replace("value: 1\n    value: 1", "value: §-1"), "at least 0"),
    ("bad-value", message("budget: {total: §0}"), "at least 1"),
    ("bad-value", message("budget: {per_day: §-5}"), "at least 1"),
    ("bad-value", message("active: {from: 2026-12-01, until: §2026-12-01}"), 'later than "from"'),
    ("bad-value", message("active: {from: §2026-02-30}"), "not a date or time"),
    ("bad-value", message("active: {from: §tomorrow}"), "2026-11-01"),
    ("bad-value", message("active: {from: §2026-11-01T10:00:00}"), "offset"),
    ("bad-value", message("active: {until: §1969-12-31}"), "1970"),
    ("bad-value", "settings: {currency: §yuan}", "three capital letters"),
    ("bad-value", "settings: {week_starts: §mon}", '"monday"'),
    ("bad-value", "settings: {exploration: §-1}", "at least 0"),
    ("bad-value", "settings: {exploration: §none}", "off"),
    ("bad-value", "settings: {starting_probability: §150%}", "100%"),
    ("bad-value", "settings: {starting_evidence: §0}", "more than 0"),
    ("bad-value", "rules: {r: {boost: {}, by: §0}}", "more than 0"),
    ("bad-value", "rules: {r: {set: {§customer.state: x}}}", "states"),
    ("bad-value", "rules: {r: {set: {§event.x: x}}}", "customer.tier"),
    ("bad-value", when("{§customer.a: }"), "exists: false"),
    ("bad-value", when("{customer.a: §{}}"), "no operator"),
    ("bad-value", when("{any: §[]}"), "empty list"),
    ("bad-value", when("{customer.a: {in: §[]}}"), "empty list"),
    ("bad-value", when("{customer.a: §{gt: 5, lt: 3}}"), "no value is both"),
    ("bad-value", when("{customer.a: §{gte: 5, lt: 5}}"), "no value is both"),
    ("bad-value", when("{time.hour: {gte: 9, in: [8, §24]}}"), "0 to 23"),
    ("bad-value", when("{time.date: {gte: §2026-13-01}}"), "not a date"),
    ("bad-value", message("category: §012"), '"012"'),
    # --- types
    ("wrong-type", "§- a", "mapping of sections"),
    ("wrong-type", "messages: §[]", "mapping of names"),
    ("wrong-type", "messages: {m: §hello}", "mapping"),
    ("wrong-type", "channels:\n  §c: # nothing\n  d: {}", "write {}"),
    ("wrong-type", message("tags: [§2026]"), "quotes"),
    ("wrong-type", message("tags: §{a: b}"), "list of names"),
    ("wrong-type", message("content: §hello"), "mapping"),
    ("wrong-type", message("value: 1").replace("value: 1\n    value: 1", 'value: §"1"'), "a number"),
    ("wrong-type", message("value: 1").replace("value: 1\n    value: 1", "value: §yes"), "a number"),
    ("wrong-type", message("value: 1").replace("value: 1\n    value: 1", "value: §true"), "it is true"),
    ("wrong-type", message("active: {from: §2026}"), "2026-11-01"),
    ("wrong-type", "caps: {c: {of: {}, at_most: §two, within: 7d}}", "a number"),
    ("wrong-type", "caps: {c: {of: {}, at_most: 1, within: §7}}", "write 7d"),
    ("wrong-type", "channels: {c: {quiet_hours: {from: §22, to: 08:00}}}", "22:00"),
    ("wrong-type", "experiments: {e: {seed: §42, share: 2%}}", "quotes"),
    ("wrong-type", "experiments: {e: {seed: s, share: §two}}", "2%"),
    ("wrong-type", "experiments: {e: {seed: s, variants: §[a, b]}}", "mapping"),
    ("wrong-type", "rules: {r: {set: §{}}}", "customer.tier"),
    ("wrong-type", "rules: {r: {set: {customer.a: §{b: 1}}}}", "text, a number"),
    ("wrong-type", "rules: {r: {set: {customer.a: [1, §~]}}}", "empty"),
    ("wrong-type", when("{customer.a: §[1, 2]}"), "customer.a: {in: [1, 2]}"),
    ("wrong-type", when("§[{customer.a: 1}]"), "mapping"),
    ("wrong-type", when("{any: §{customer.a: 1}}"), "any: [{…}, {…}]"),
    ("wrong-type", when("{customer.a: {in: §gold}}"), "a list"),
    ("wrong-type", when("{customer.a: {exists: §1}}"), "true or false"),
    ("wrong-type", when("{customer.a: {gt: §true}}"), "a number or text"),
    ("wrong-type", when("{customer.a: {matches: §1}}"), "regular expression"),
    ("wrong-type", when("{customer.a: {eq: §~}}"), "exists: false"),
    ("wrong-type", when("{customer.a: {in: [1, §[2]]}}"), "item"),
    ("wrong-type", when('{time.hour: §"9"}'), "time.hour is a number"),
    ("wrong-type", when("{events.purchase.count_7d: {gte: §two}}"), "is a number"),
    ("wrong-type", when("{events.purchase.count: {§contains: 2}}"), "cannot be used with"),
    ("wrong-type", when("{placement: {in: [outbound, §3]}}"), "placement is text"),
    # --- fields and operators
    ("unknown-field", when("{§custmer.a: 1}"), "customer"),
    ("unknown-field", when("{§custmer.country: CN}"), "customer"),
    ("unknown-field", when("{§lifetime_spend: 1}"), "not a field"),
    ("unknown-field", when("{§events.purchase.count_91d: 1}"), "90d"),
    ("unknown-field", when("{§events.purchase.cuont_7d: 1}"), "events.purchase.count_7d"),
    ("unknown-field", when("{§time.minute: 1}"), "time.hour"),
    ("unknown-field", when("{§contacts.push: 1}"), "count_7d"),
    ("unknown-field", when("{§customer.state: low}"), "no states"),
    ("unknown-field", when("{§gte: 1}"), "field: {gte"),
    ("unknown-field", when("{not: {§eq: 1}}"), "write a field"),
    ("unknown-field", TEST + when("{§experiment.hold: short}"), "no variants"),
    ("unknown-field", "states: {low: {when: {§customer.state: low}}}", "states decide"),
    ("unknown-operator", when("{customer.a: {§equals: 1}}"), '"eq"'),
    ("unknown-operator", when("{customer.a: {§field: customer.b}}"), "{eq: {field: customer.b}}"),
    ("unknown-operator", when('{customer.a: {§"v>=": "1.0"}}'), '"vgte"'),
    # --- fields as operands
    ("conflict", when("{time.hour: {eq: {field: §time.weekday}}}"), "time.hour is a number and time.weekday is text"),
    ("conflict", when("{time.weekday: {ne: {field: §events.x.count_7d}}}"), "a field that is text"),
    ("conflict", when("{events.x.count: {lt: {field: §placement}}}"), "never compare"),
    ("conflict", when("{time.weekday: {in: {field: §time.date}}}"), "time.weekday: {eq: {field: time.date}}"),
    ("conflict", when("{customer.a: {not_in: {field: §time.hour}}}"), "customer.a: {ne: {field: time.hour}}"),
    ("conflict", when("{placement: {contains: {field: §time.hour}}}"), "a field that is text"),
    ("conflict", when("{time.hour: {contains: {field: §customer.b}}}"), "use eq"),
    ("conflict", when("{customer.a: {vgte: {field: §time.hour}}}"), "time.hour is a number, not a version"),
    ("unknown-field", when("{customer.a: {lt: {field: §cusomer.b}}}"), "write customer.b"),
    ("unknown-field", when("{customer.a: {lt: {field: §events.x.cuont}}}"), "write events.x.count"),
    ("unknown-name", when("{customer.a: {lt: {field: §contacts.fax.count_7d}}}"), "fax"),
    ("unknown-name", when("{customer.a: {eq: {field: §experiment.nothing}}}"), "nothing"),
    ("unknown-key", when("{customer.a: {lt: {field: customer.b, §default: 1}}}"), '"default"'),
    ("wrong-type", when("{customer.a: {lt: §{feild: customer.b}}}"), '{field: customer.b}'),
    ("wrong-type", when("{customer.a: {lt: §{customer.b: 1}}}"), "{field: customer.b}"),
    ("wrong-type", when("{customer.a: {lt: {field: §7}}}"), "field in lt of customer.a"),
    ("wrong-type", when("{customer.a: {lt: {field: §[customer.b]}}}"), "must be text"),
    ("wrong-type", when("{customer.a: {in: [1, §{field: customer.b}]}}"), "write any: [{customer.a"),
    ("wrong-type", when("{customer.a: {exists: §{field: customer.b}}}"), "true or false"),
    ("wrong-type", when("{customer.a: {matches: §{field: customer.b}}}"), "contains"),
    ("wrong-type", when("{time.hour: {gt: §events.x.count}}"), "{gt: {field: events.x.count}}"),
    # --- fields meant, texts written
    ("doubtful-comparison", when("{customer.a: §customer.b}"), "{eq: {field: customer.b}}"),
    ("doubtful-comparison", when('{customer.a: {lt: §"customer.b + 1"}}'), "{lt: {field: customer.b}}"),
    ("doubtful-comparison", when('{customer.a: {ne: §"{{ customer.b }}"}}'), "{ne: {field: customer.b}}"),
    ("doubtful-comparison", when("{customer.a: {in: [x, §events.x.count]}}"), "any: [{…: {eq: {field: events.x.count}}}, …]"),
    ("doubtful-comparison", when("{customer.a: {gte: §time.date}}"), "{gte: {field: time.date}}"),
    ("doubtful-comparison", when('{customer.v: {gte: §"2.10.0"}}'), '{vgte: "2.10.0"}'),
    ("bad-value", when("{customer.a: {lt: {field: §customer.b + 1}}}"), "write {field: customer.b}"),
    ("wrong-type", when("{customer.a: {lt: {§field: }}}"), "write {field: customer.limit}"),
    ("unknown-operator", when("{customer.a: {§between: [1, 2]}}"), "{gte: 1, lte: 2}"),
    # --- dates
    ("unknown-field", when("{§birthday.anniversary_in: 0}"), "customer.birthday.anniversary_in"),
    ("unknown-operator", when("{customer.birthday: {§days_until: 3}}"), "customer.birthday.days_until: 3"),
    ("wrong-type", when("{customer.birthday.days_until: {lte: §7d}}"), "write 7,"),
    ("doubtful-comparison", when("{§event.date.days_until: 3}"), "an attribute of the customer"),
    ("wrong-type", when("{customer.birthday.days_until: §soon}"), "is a number"),
    ("wrong-type", when('{customer.birthday.anniversary_in: {lte: §"7"}}'), "write 7,"),
    ("wrong-type", when("{customer.birthday.years_since: {§contains: 1}}"), "which is a number"),
    ("conflict", when("{customer.birthday.days_until: {lt: {field: §time.date}}}"), "never compare"),
    ("bad-value", "rules: {r: {set: {§customer.renewal.days_until: 3}}}", "counted from renewal"),
    ("doubtful-comparison", when("{§customer.birthday.days_untill: 3}"), "customer.birthday.days_until"),
    ("doubtful-comparison", when("{§customer.birthday.aniversary_in: {lt: 3}}"), "customer.birthday.anniversary_in"),
    ("doubtful-comparison", when("{customer.age: {gt: {field: §customer.birthday.year_since}}}"), "years_since"),
    # --- versions
    ("bad-value", when('{customer.v: {vgte: §latest}}'), "starts with digits"),
    ("bad-value", when('{customer.v: {vgte: §"2.x"}}'), 'write {vgte: "2"}'),
    ("bad-value", when('{customer.v: {vgt: §"2.x"}}'), 'write {vgte: "3"}'),
    ("bad-value", when('{customer.v: {vlte: §"v2.9.x"}}'), 'write {vlt: "2.10"}'),
    ("bad-value", when('{customer.v: {vlt: §"2.x.x"}}'), 'write {vlt: "2"}'),
    ("bad-value", when('{customer.v: {vlt: §"~2.9.1"}}'), '{vgte: "2.9.1", vlt: "2.10"}'),
    ("bad-value", when('{customer.v: {vlt: §"２.9"}}'), '{vlt: "2.9"}'),
    ("bad-value", when('{customer.v: {vlt: §"iOS 17"}}'), '{vlt: "17"}'),
    ("bad-value", when('{customer.v: {veq: §"2.9.*"}}'), '{vgte: "2.9", vlt: "2.10"}'),
    ("bad-value", when('{customer.v: {vgte: §">= 2.0"}}'), '{vgte: "2.0"}'),
    ("bad-value", when('{customer.v: {vlt: §"2,10,1"}}'), '{vlt: "2.10.1"}'),
    ("bad-value", when('{customer.v: {vlt: §V2.0}}'), '{vlt: "2.0"}'),
    ("bad-value", when('{customer.v: {vlt: §"version 2.0-rc1"}}'), '{vlt: "2.0-rc1"}'),
    ("bad-value", when('{customer.v: {vlt: §""}}'), "2.10.0"),
    ("bad-value", when('{customer.v: {vlt: §" 2.0"}}'), '{vlt: "2.0"}'),
    ("wrong-type", when("{customer.v: {vgte: §2.10}}"), "2.10 is the number 2.1"),
    ("wrong-type", when("{customer.v: {vgte: §2}}"), 'write {vgte: "2"}'),
    ("wrong-type", when("{customer.v: {veq: §true}}"), "a version, in quotes"),
    ("wrong-type", when('{customer.v: {veq: §["2.0"]}}'), "a version, in quotes"),
    ("wrong-type", when('{events.x.count: {§vgte: "2.0"}}'), "events.x.count, which is a number"),
    ("unknown-operator", when('{customer.a: {§">=": 1}}'), '"gte"'),
    ("unknown-operator", when("{customer.a: {§contain: x}}"), '"contains"'),
    ("unknown-operator", when("{any: [{not: {customer.a: {§regex: x}}}]}"), '"matches"'),
    ("bad-pattern", when("{customer.a: {matches: §'(a'}}"), "missing )"),
    ("bad-pattern", when("{customer.a: {matches: §'(?=a)b'}}"), "RE2"),
    ("bad-pattern", when("{customer.a: {matches: §'(.*a){1000}x'}}"), "11,005 steps"),
    ("bad-pattern", when("{not: {context.b: {matches: §'((a{0,9}b){0,9}c){0,9}.{900}'}}}"), "allowed"),
    # --- content
    ("bad-template", message('content: {title: §"{{ customer.x "}'), "incomplete"),
    ("bad-template", message('content: {title: §"{{ custmer.x }}"}'), '"customer"'),
    ("bad-template", message('content: {title: §"{{ customer }}"}'), "customer.<name>"),
    ("bad-template", message('content: {a: [{b: §"{{ customer.x | uper }}"}]}'), '"upper"'),
    ("bad-template", message('content: {title: §"{% for x, y in customer.y %}{% endfor %}"}'), "{% for item in"),
    ("bad-template", message('content: {title: §"{% for x in customer.y %}{{ x }}"}'), "{% endfor %}"),
    ("bad-template", message('content: {title: §"Hi {{ customer.x | date(\'YYYY\') }}"}'), "yyyy-MM-dd"),
    ("bad-template", message('content: {title: §"Hi {{ coupon.code }}"}'), "add coupon: spring-10 to the message, and a section coupons: {spring-10: {give_back_after: 14d}}"),
    ("bad-template", 'coupons: {autumn: {}}\n' + message('content: {title: §"{{ coupon.code }}"}'), "add coupon: autumn to the message"),
    ("unknown-name", 'coupons: {spring-10: {}}\n' + message('coupon: §sprin-10'), 'did you mean "spring-10"?'),
    ("unknown-name", message('coupon: §spring-10'), "no coupons are defined"),
    ("wrong-type", 'coupons: {spring-10: {}}\n' + message('coupon: §[spring-10]'), "text"),
    ("wrong-type", "coupons: {spring-10: §14d}", "mapping"),
    ("wrong-type", "coupons: {spring-10: {give_back_after: §14}}", "write 14d for days"),
    ("bad-value", "coupons: {spring-10: {give_back_after: §0d}}", ""),
    ("unknown-key", "coupons: {spring-10: {§give_back: 14d}}", 'did you mean "give_back_after"?'),
    ("unknown-key", "coupons: {spring-10: {§codes: [A, B]}}", "nextbest coupons load spring-10 codes.csv"),
    ("bad-name", "coupons: {§spring/10: {}}", "/"),
    ("missing-key", "funnels: {§buy: {within: 7d}}", "add steps: [page_view, purchase]"),
    ("missing-key", "funnels: {§buy: {steps: [a, b]}}", "add within: 7d"),
    ("bad-value", "funnels: {buy: {steps: §[a], within: 7d}}", "a funnel has two or more"),
    ("bad-value", "funnels: {buy: {steps: [a, b], within: §0d}}", ""),
    ("unknown-name", "funnels: {buy: {steps: [a, §message.open], within: 7d}}", '"message.opened"'),
    ("unknown-key", "funnels: {buy: {steps: [a, b], §window: 7d, within: 7d}}", "within"),
    ("bad-value", "funnels: {buy: {steps: [a, b], within: 7d, order: §strikt}}", '"strict"'),
    ("missing-key", "metrics: {§revenue: {value: amount}}", "add event: purchase"),
    ("bad-value", "metrics: {m: {event: purchase, better: §mroe}}", '"more"'),
    ("bad-value", "metrics: {m: {event: purchase, measure: §shares}}", '"share"'),
    ("bad-value", "metrics: {§m: {event: purchase, measure: average}}", "add value: amount"),
    ("bad-value", "metrics: {§m: {event: purchase, value: amount, measure: share}}", "leave out"),
    ("bad-value", "metrics: {m: {event: purchase, value: §event.amount}}", "write value: amount"),
    ("bad-value", "metrics: {m: {event: purchase, within: §0d}}", ""),
    ("unknown-key", "metrics: {m: {event: purchase, §sum: amount}}", 'did you mean "value"? write value: amount'),
    ("unknown-name", message('content: {title: §"{{ experiment.copy-tset }}"}') + "\nexperiments: {copy-test: {seed: s, variants: {a: 100%}}}", '"copy-test"'),
    ("unknown-field", message('content: {title: §"{{ experiment.held-back }}"}') + "\nexperiments: {held-back: {seed: s, share: 2%}}", "no variants"),
    ("unknown-name", message('content: {title: §"{{ events.message.open.last_x }}"}'), '"message.opened"'),
    ("unknown-name", message('content: {title: §"{{ contacts.pusch.count_7d }}"}'), '"push"'),
    ("bad-template", message('content: {title: §"{{ customer.__class__ }}"}'), "__class__"),
    ("bad-template", message("content:\n      body: §|\n        a\n        {{ event }}\n"), "line 2 of the text"),
    ("conflict", message("content: {§email: {title: x}}"), "no such channel"),
    ("bad-value", "channels: {c: {max_length: {title: 3}}}\nmessages: {m: {purpose: marketing, channels: [push, c], value: 1, content: {title: §四个字呀}}}", "allows 3"),
    ("bad-value", 'channels: {c: {max_length: {title: 3}}}\nmessages: {m: {purpose: marketing, channels: [push, c], value: 1, content: {title: ok, c: {title: §"long {{ event.x }}"}}}}', "allows 3"),
    # --- parts that must fit together
    ("conflict", "placements: {p: {channels: [email], fallback: §coupon}}", "on email"),
    ("conflict", "placements: {p: {channels: [email]}}\n" + message("placements: [outbound, §p]"), "no channel"),
    ("conflict", "rules: {r: {exclude: {}, §by: 2}}", "boost"),
    ("conflict", "experiments: {e: {seed: s, share: 2%, §variants: {a: 100%}}}", "both"),
    ("conflict", "experiments: {e: {seed: s, variants: {a: 100%}, §keeps: [marketing]}}", "keeps"),
    # --- parts without effect
    ("no-effect", "messages: {§m: {purpose: marketing, channels: [push]}}", "value is 0"),
    ("no-effect", "channels: {sms: {}}\nmessages: {§m: {purpose: marketing, channels: [sms], value: 1}}", "no placement"),
    ("no-effect", "states: {a: {}, §b: {}}", '"a"'),
    ("no-effect", "rules: {r: {exclude: {messages: [§promo-*]}}}", "promo-*"),
    ("no-effect", "rules: {r: {§allow_only: {}}}", "everything"),
    # --- YAML itself
    ("bad-yaml", "messages:\n\t§m: {}".replace("\t§", "§\t"), "tab"),
    ("unsupported-yaml", "messages: §&m {}", "anchor"),
    ("bad-character", "caps: {} #§\u2028", "U+2028"),
    ("too-deep", "caps: " + "[" * 49 + "§[", "50 levels"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text", "words"), CASES)
def test_each_error_has_its_code_place_and_fix(code: str, text: str, words: str) -> None:
    found, places = check(text)
    assert [(one.code, one.line, one.column) for one in found] == [(code, *places[0])]
    assert words in f"{found[0].message} | {found[0].hint}"
    assert found[0].severity == ("warning" if code in WARNINGS else "error")


def test_every_code_has_a_case() -> None:
    elsewhere = {"bad-encoding", "too-large", "unreadable-file", "no-rules", "ignored-file"}
    reviewed = list(CODES)[list(CODES).index("no-effect") + 1 :]  # see golden/
    assert {code for code, _, _ in CASES} | elsewhere | set(reviewed) == set(CODES)


def test_all_errors_of_a_folder_are_found_in_one_run_in_the_order_of_places() -> None:
    text, places = marked(
        """\
settings: {timezone: §Mars/Base, §colour: red}
caps:
  a: {of: {channel: §fax}, at_most: §0, within: §100d}
messages:
  m:
    purpose: §nothing
    channels: [push]
    value: §free
    when: {customer.a: §[1], any: [{§bogus: 1}, {customer.b: {§near: 2}}]}
    content: {title: §"{{ x }}", body: §"{% set a = 1 %}"}
  n: {channels: [§fax], purpose: marketing, §Value: 3}
"""
    )
    result = load_files(
        {"a.yaml": SMALL, "b.yaml": text, "c.yaml": "rules: {r: {boost: {}, by: 0}}"}
    )
    assert result.definition is None
    first = [(one.line, one.column) for one in result.diagnostics if one.file == "rules/b.yaml"]
    assert first == places
    assert [one.code for one in result.diagnostics if one.file == "rules/c.yaml"] == ["bad-value"]


def test_who_delivers_is_one_of_two_and_a_typo_gets_the_nearest() -> None:
    result = load_files({"a.yaml": SMALL, "b.yaml": PLACEMENT.format("gatway")})
    (found,) = [one for one in result.diagnostics if one.file == "rules/b.yaml"]
    assert "gateway" in found.hint
    assert (found.line, found.code) == (1, "bad-value")
    for wrong in ("true", "[gateway]", "3"):
        result = load_files({"a.yaml": SMALL, "b.yaml": PLACEMENT.format(wrong)})
        assert [one.file for one in result.diagnostics] == ["rules/b.yaml"]
    for right in ("caller", "gateway"):
        result = load_files({"a.yaml": SMALL, "b.yaml": PLACEMENT.format(right)})
        assert result.definition is not None
        assert result.definition.placements[-1].delivery == right


def test_a_name_that_may_be_in_an_unreadable_file_gets_no_diagnostic() -> None:
    good = "placements: {p: {channels: [push, sms], threshold: x}}"
    result = load_files({"a.yaml": SMALL, "b.yaml": good, "c.yaml": "channels:\n\tsms: {}"})
    assert [(one.code, one.file) for one in result.diagnostics] == [
        ("wrong-type", "rules/b.yaml"),
        ("bad-yaml", "rules/c.yaml"),
    ]


def test_a_definition_with_an_error_is_still_known_by_its_name() -> None:
    result = load_files(
        {
            "a.yaml": SMALL.replace("value: 1", "value: x"),
            "b.yaml": "rules: {r: {exclude: {messages: coupon, tags: sale}}}",
        }
    )
    assert [one.code for one in result.diagnostics] == ["wrong-type"]


def test_a_value_refused_by_yaml_gets_one_diagnostic() -> None:
    found, places = check("caps: {c: {of: {tags: [§*sale]}, at_most: §012, within: §&d 7d}}")
    assert [(one.code, one.line, one.column) for one in found] == [
        ("unsupported-yaml", *places[0]),
        ("bad-value", *places[1]),
        ("unsupported-yaml", *places[2]),
    ]


def test_more_candidates_than_the_log_can_number_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(messages, "MOST_CANDIDATES", 0)
    result = load_files({"a.yaml": SMALL})
    assert [one.code for one in result.diagnostics] == ["bad-value"]
    assert "more than 0 candidates" in result.diagnostics[0].message
    monkeypatch.setattr(messages, "MOST_CANDIDATES", 1 << 16)
    assert not load_files({"a.yaml": SMALL}).diagnostics


def test_a_policy_that_was_in_force_stays_readable_with_a_pattern_that_is_too_large_now() -> None:
    """Decisions made with it are explained from its files."""
    files = {"a.yaml": SMALL, "b.yaml": when("{customer.a: {matches: '(.*a){1000}x'}}")}
    assert load_files(files).definition is None
    assert load_files(files, again=True).definition is not None
