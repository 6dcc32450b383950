"""Sends events by Segment's or RudderStack's client for Python, with the client's own settings.

`send.py segment|rudderstack URL COUNT` prints as JSON what the client reported of events given up.
"""

import importlib
import json
import sys
import time

EACH, ROOM = 10, 1000
"""Events of a customer in a row; places that are left free for what the client puts back."""

name, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
given_up: list[list[object]] = []
client = importlib.import_module(f"{name}.analytics.client").Client(
    "the-write-key",
    host=url,
    on_error=lambda error, events: given_up.append([repr(error)[:200], len(events)]),
)
half = count // 2
for number in range(count):
    customer = number // EACH % 200
    user, anonymous = f"{name}-{customer}", f"{name}-a{customer}"
    if number >= half and number % EACH == 0 and number < half + 200 * EACH:
        client.identify(user_id=user, anonymous_id=anonymous, traits={"plan": "pro"})
    done, _ = client.track(
        event="Order Completed",
        properties={
            "client": name,
            "number": number,
            "amount": 2,
            "items": [{"sku": "a"}, {"sku": "b"}],
        },
        **({"anonymous_id": anonymous} if number < half else {"user_id": user}),
    )
    assert done, "the queue is full"
    while client.queue.qsize() > client.queue.maxsize - ROOM:
        time.sleep(0.01)
client.flush()
client.join()
print(json.dumps(given_up))
