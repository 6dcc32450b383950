/** Takes part in the contract of all clients: a step of a case on each line in, what came of it out. */

import { createInterface } from "node:readline";

import { Client, NoAnswerError, ProblemError, TimedOutError } from "../src/index.js";
import { address, authorization, hasIds, target, waitOf } from "../src/calls.js";
import { problemOf } from "../src/errors.js";
import { Portions, Splitter } from "../src/lines.js";

interface Step {
  url: string;
  key: string;
  call: string;
  with: any[];
  options: { timeout?: number };
}

function outcomeOf(error: unknown): object {
  if (error instanceof ProblemError) {
    const { status, kind, detail, errors, retryAfter } = error;
    const retry_after = retryAfter === null ? null : retryAfter / 1000;
    return { fails: "problem", status, kind, detail, errors, retry_after };
  }
  if (error instanceof TimedOutError) return { fails: "timed-out", detail: error.message };
  if (error instanceof NoAnswerError) return { fails: "no-answer", detail: error.message };
  if (error instanceof TypeError) return { fails: "bad-argument", detail: error.message };
  throw error;
}

async function perform(step: Step): Promise<object> {
  const client = new Client(step.url, { key: step.key, longestWait: 5000 }) as any;
  const options = { ...step.options };
  if (options.timeout !== undefined) options.timeout *= 1000;
  const method = step.call.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  if (method === "decideBatch") {
    let taken = 0;
    const lines = (function* () {
      for (const line of step.with[0]) {
        taken += 1;
        yield line;
      }
    })();
    const answers = client.decideBatch(lines, options);
    const first = (await answers.next()).value;
    const takenFirst = taken;
    const gives = [first];
    for await (const one of answers) gives.push(one);
    return { gives, taken: takenFirst };
  }
  const streamed = { method: "POST", target: "/v1/decisions/batch", lines: true, repeatable: true };
  const answer =
    method === "stream"
      ? client.lines({ ...streamed, body: step.with[0].join("\n") }, options)
      : client[method](...step.with, options);
  if (Symbol.asyncIterator in answer) {
    const gives = [];
    for await (const one of answer) gives.push(one);
    return { gives };
  }
  return { gives: await answer };
}

const pieces: Record<string, (...given: any[]) => unknown> = {
  address: (url) => address(url),
  authorization: (key) => authorization(key).authorization ?? null,
  has_ids: (body) => hasIds(body),
  target: (template, path, query) => target(template, path, query),
  retry_after: (header) => {
    const found = problemOf(new Response("", { status: 503, headers: { "retry-after": header } }), "");
    return found.retryAfter === null ? null : found.retryAfter / 1000;
  },
  wait: (repeatable, failure, after, made) => {
    const retryAfter = after === null ? null : after * 1000;
    const rest = { kind: "", title: "", detail: "", errors: [], instance: null, retryAfter };
    const error =
      typeof failure === "number"
        ? new ProblemError({ ...rest, status: failure })
        : new NoAnswerError("", failure === "lost");
    const found = waitOf({ most: 2, longestWait: 7000 }, repeatable, error, made);
    return found === null ? null : found / 1000;
  },
  kind: (status, body) => problemOf(new Response(body, { status }), body).kind,
  lines: (text: string, size: number) => {
    const splitter = new Splitter();
    const data = new TextEncoder().encode(text);
    const found: string[] = [];
    for (let at = 0; at < data.length; at += size) found.push(...splitter.add(data.slice(at, at + size)));
    return [...found, ...splitter.add(null)].map((line) => JSON.parse(line));
  },
  portions: (most, lines) => {
    const portions = new Portions(most);
    const made = lines.flatMap((line: any) => [...portions.add(line)]);
    return [...made, ...portions.rest()].map((one) => [
      one.places.map((place: any) => ("number" in place ? place.number : place)),
      one.repeatable,
    ]);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const step = JSON.parse(line);
  let outcome: object;
  try {
    const piece = pieces[step.piece];
    outcome = piece ? { gives: piece(...step.with) } : await perform(step);
  } catch (error) {
    outcome = outcomeOf(error);
  }
  process.stdout.write(JSON.stringify("gives" in outcome && outcome.gives === undefined ? { ...outcome, gives: null } : outcome) + "\n");
}
