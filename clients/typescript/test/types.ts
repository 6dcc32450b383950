/** What the types allow and refuse. The compiler reads this file; nothing runs it. */

import { Client, type BadLine, type Decision, type DecisionRequest, type Event } from "../src/index.js";

interface Cart {
  value: number;
}

/** What users write. */
export async function allowed(nextbest: Client, cart: Cart, when: Date | undefined): Promise<void> {
  const decision = await nextbest.decide(
    {
      placement: "app_home",
      alias: { type: "email", value: "a@b.example" },
      event: { type: "cart_add", at: when, properties: cart },
      context: { device: "ios", tags: ["a"] },
      limit: 2,
    },
    { timeout: 1500, signal: AbortSignal.timeout(3000) },
  );
  const message: string | undefined = decision.selections[0]?.message;
  const reason: string | null = decision.reason;
  if (decision.outcome === "selected") console.log(message, reason, decision.degraded.length);
  const events: Event[] = [{ type: "purchase", customer_id: "c-1", value: 80 }];
  console.log((await nextbest.recordEvents({ events })).accepted);
  await nextbest.updateCustomer("c-1", { attributes: { old: null }, timezone: null });
  await nextbest.setConsents("c-1", { marketing: { "*": "granted", sms: null } });
  await nextbest.setConsents("c-1", { marketing: { "*": { state: "denied", at: new Date(0) } } });
  await nextbest.mergeCustomers("c-1", { from: "anon-9" });
  const requests: DecisionRequest[] = [{ placement: "p", customer_id: "c-1" }];
  for await (const answer of nextbest.decideBatch(requests, { portion: 10 })) {
    const found: Decision | BadLine = answer;
    if ("error" in answer) console.log(answer.error.line, found);
    else console.log(answer.decision_id);
  }
}

/** What they get wrong. */
export async function refused(nextbest: Client): Promise<void> {
  // @ts-expect-error the placement is missing
  await nextbest.decide({ customer_id: "c-1" });
  // @ts-expect-error there is no such field
  await nextbest.decide({ placement: "p", custommer: "c-1" });
  // @ts-expect-error a limit is a number
  await nextbest.decide({ placement: "p", limit: "2" });
  // @ts-expect-error a consent is granted or denied
  await nextbest.setConsents("c-1", { marketing: { "*": "yes" } });
  // @ts-expect-error there is no such field
  console.log((await nextbest.decide({ placement: "p" })).outcom);
  // @ts-expect-error an id is text
  await nextbest.findDecision(7);
}
