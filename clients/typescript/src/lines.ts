/** Many decisions, sent in portions: memory stays small, and a portion can be sent again. */

import { encoded, hasIds, type Call } from "./calls.js";
import { NoAnswerError } from "./errors.js";
import type { Decision, DecisionRequest, ProblemDetails } from "./types.js";

/** Characters of a portion, unless one line alone has more. */
const LARGEST = 512 * 1024;

/** What stands in the place of a decision where its line cannot be used; lines count from 1. */
export interface BadLine {
  error: ProblemDetails & { line: number };
}

/** A request, or a line that has one as JSON. */
export type Line = string | DecisionRequest;

/** Lines that are sent together. `places`: their numbers, or what is wrong with one. */
export interface Portion extends Call {
  places: (number | BadLine)[];
}

/** A decision or a bad line for each place of a portion. */
export function answersOf(portion: Portion, body: string, parse: (line: string) => unknown): (Decision | BadLine)[] {
  const lines = body.split("\n").filter(Boolean).values();
  return portion.places.map((place) => {
    if (typeof place !== "number") return place;
    const line = lines.next();
    if (line.done) throw new NoAnswerError("the answer has fewer lines than the batch", true);
    const found = parse(line.value) as Decision | BadLine;
    if ("error" in found) found.error.line = place;
    return found;
  });
}

/** Collects lines. Blank ones are counted, and otherwise left out. */
export class Portions {
  #number = 0;
  #lines: string[] = [];
  #places: (number | BadLine)[] = [];
  #size = 0;
  #repeatable = true;

  constructor(private readonly most: number) {
    if (!(most >= 1)) throw new TypeError(`a portion cannot have ${most} lines`);
  }

  /** The portions that are complete with or before this line. */
  *add(line: Line): Generator<Portion> {
    this.#number += 1;
    try {
      const text = typeof line === "string" ? line.trim().replaceAll("\n", " ") : encoded(line);
      if (!text) return;
      if (this.#lines.length && this.#size + text.length > LARGEST) yield* this.rest();
      this.#lines.push(text);
      this.#places.push(this.#number);
      this.#size += text.length + 1;
      this.#repeatable &&= canRepeat(line);
    } catch (error) {
      this.#places.push(bad(this.#number, error));
    }
    if (this.#places.length >= this.most) yield* this.rest();
  }

  /** What is left, as a portion. */
  *rest(): Generator<Portion> {
    const body = this.#lines.join("\n");
    const portion = { body, lines: true, places: this.#places, repeatable: this.#repeatable };
    this.#lines = [];
    this.#places = [];
    this.#size = 0;
    this.#repeatable = true;
    if (portion.places.length) yield { method: "POST", target: "/v1/decisions/batch", ...portion };
  }
}

function canRepeat(line: Line): boolean {
  try {
    const request: unknown = typeof line === "string" ? JSON.parse(line) : line;
    // What is no request does nothing.
    return typeof request !== "object" || request === null || Array.isArray(request) || hasIds(request);
  } catch {
    return true;
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
