/** Many decisions, sent in portions: memory stays small, and a portion can be sent again. */

import { encoded, hasIds, waitOf, type Call, type Retries } from "./calls.js";
import { NoAnswerError, parsed, ProblemError, problemOf } from "./errors.js";
import type { Decision, DecisionRequest, ProblemDetails } from "./types.js";

/** Characters of a portion, unless one line alone has more. */
const LARGEST = 512 * 1024;

/**
 * What stands in the place of a decision where its line cannot be used. Lines count from 1,
 * `retry_after` is in seconds.
 */
export interface BadLine {
  error: ProblemDetails & { line: number; retry_after?: number | null };
}

/** A request, or a line that has one as JSON. */
export type Line = string | DecisionRequest;

/** A line that is sent: its number, and whether it can be sent twice. */
export interface Sent {
  number: number;
  text: string;
  repeatable: boolean;
}

/** Lines that are sent together. `places`: each of them, or what is wrong with it. */
export interface Portion extends Call {
  places: (Sent | BadLine)[];
}

function portionOf(places: (Sent | BadLine)[]): Portion {
  const sent = places.filter((place) => "number" in place);
  const body = sent.map((line) => line.text).join("\n");
  const repeatable = sent.every((line) => line.repeatable);
  return { method: "POST", target: "/v1/decisions/batch", body, lines: true, repeatable, places };
}

/** A decision or a bad line for each place of a portion. */
export function answersOf(portion: Portion, answer: Response, body: string): (Decision | BadLine)[] {
  const lines = body.split("\n").filter(Boolean).values();
  return portion.places.map((place) => {
    if (!("number" in place)) return place;
    const line = lines.next();
    if (line.done) throw new NoAnswerError("the answer has fewer lines than the batch", true);
    const found = parsed(answer, line.value);
    if ("error" in found) {
      if (found.error?.constructor !== Object) throw problemOf(answer, line.value);
      found.error.line = place.number;
    }
    return found;
  });
}

/**
 * One portion, and what of it the server refuses for now: that is sent again.
 *
 * `portion` is what to send next. Each line that is decided is progress, after which those left
 * have all their tries again: so a batch of any size goes on at the rate that its key has.
 */
export class Exchange {
  /** The last answer to each line, in order. */
  readonly answers: (Decision | BadLine)[] = [];
  #open: number[];
  #made = 0;

  constructor(
    public portion: Portion,
    private readonly retries: Retries,
  ) {
    this.#open = portion.places.map((_, at) => at);
  }

  /** Notes the answers to `portion`; milliseconds until its next one is sent, null: there is none. */
  take(answers: (Decision | BadLine)[]): number | null {
    const decided = answers.some((answer) => !("error" in answer));
    this.#made = decided ? 0 : this.#made + 1;
    const again: number[] = [];
    const places: (Sent | BadLine)[] = [];
    let longest = 0;
    for (const [index, answer] of answers.entries()) {
      const [at, place] = [this.#open[index]!, this.portion.places[index]!];
      this.answers[at] = answer;
      const wait = "number" in place && "error" in answer ? this.#wait(place, answer) : null;
      if (wait === null) continue;
      again.push(at);
      places.push(place);
      longest = Math.max(longest, wait);
    }
    if (!again.length) return null;
    this.portion = portionOf(places);
    this.#open = again;
    return longest;
  }

  #wait(line: Sent, { error }: BadLine): number | null {
    const retryAfter = typeof error.retry_after === "number" ? Math.max(0, error.retry_after) * 1000 : null;
    const problem = { status: error.status, kind: "", title: "", detail: "", errors: [], instance: null, retryAfter };
    return waitOf(this.retries, line.repeatable, new ProblemError(problem), this.#made);
  }
}

/** Collects lines. Blank ones are counted, and otherwise left out. */
export class Portions {
  #number = 0;
  #places: (Sent | BadLine)[] = [];
  #size = 0;

  constructor(private readonly most: number) {
    if (!(most >= 1)) throw new TypeError(`a portion cannot have ${most} lines`);
  }

  /** The portions that are complete with or before this line. */
  *add(line: Line): Generator<Portion> {
    this.#number += 1;
    try {
      const text = typeof line === "string" ? line.trim().replaceAll("\n", " ") : encoded(line);
      if (!text) return;
      if (this.#size && this.#size + text.length > LARGEST) yield* this.rest();
      this.#places.push({ number: this.#number, text, repeatable: canRepeat(line) });
      this.#size += text.length + 1;
    } catch (error) {
      this.#places.push(bad(this.#number, error));
    }
    if (this.#places.length >= this.most) yield* this.rest();
  }

  /** What is left, as a portion. */
  *rest(): Generator<Portion> {
    const places = this.#places;
    this.#places = [];
    this.#size = 0;
    if (places.length) yield portionOf(places);
  }
}

function canRepeat(line: Line): boolean {
  try {
    return hasIds(typeof line === "string" ? JSON.parse(line) : line);
  } catch {
    return true; // it is no request, so nothing is done
  }
}

function bad(line: number, error: unknown): BadLine {
  const detail = error instanceof Error ? error.message : String(error);
  return {
    error: {
      type: "urn:nextbest:problem:invalid-request",
      title: "The request cannot be used",
      status: 400,
      detail,
      instance: null,
      errors: [{ path: "", detail }],
      line,
    },
  };
}

/** Bytes as they come → complete lines. Only a line feed ends a line. */
export class Splitter {
  #decoder = new TextDecoder();
  #rest: string[] = [];

  /** The lines that are complete with this. */
  *add(data: Uint8Array | null): Generator<string> {
    const text = data === null ? this.#decoder.decode() + "\n" : this.#decoder.decode(data, { stream: true });
    const lines = text.split("\n");
    const rest = lines.pop() ?? "";
    for (const line of lines) {
      const whole = this.#rest.join("") + line;
      this.#rest = [];
      if (whole.trim()) yield whole;
    }
    if (rest) this.#rest.push(rest);
  }
}
