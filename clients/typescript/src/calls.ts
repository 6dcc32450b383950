/** One call as data, and when it is made again. No I/O happens here. */

import { NoAnswerError, ProblemError } from "./errors.js";

const AGAIN = [408, 429, 502, 503, 504];
const UNSENT = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT"];

/**
 * A call. `repeatable`: made twice, it does no more than once. `last`: which `kind` the last line of
 * its answer may have; without it any.
 */
export interface Call {
  method: string;
  target: string;
  body?: string;
  lines?: boolean;
  repeatable?: boolean;
  last?: string[];
}

/** How often a call is made again, and the longest wait between, in milliseconds. */
export interface Retries {
  most: number;
  longestWait: number;
}

/**
 * The address of a server, as paths are put after it.
 *
 * @throws TypeError it is not one, or has more than scheme, host, port and path.
 */
export function address(url: string): string {
  let parts: URL | null = null;
  try {
    parts = new URL(url);
  } catch {
    // The error would name the address, and so a password in it.
  }
  if (!/^https?:\/\//.test(url) || parts === null || parts.port === "0") {
    throw new TypeError("the address is no http:// or https:// one with a host");
  }
  if (parts.username || parts.password || /[?#]/.test(url)) {
    throw new TypeError("the address may have a host, a port and a path: no login, no query");
  }
  return url.replace(/\/+$/, "");
}

/**
 * The header for a key. Blanks and line ends around it are left out, as files have them.
 *
 * @throws TypeError it has characters that a key cannot have.
 */
export function authorization(key: string | null | undefined): Record<string, string> {
  const found = (key ?? "").trim();
  if (!/^[!-~]*$/.test(found)) throw new TypeError("the key has characters that no key has");
  return found ? { authorization: `Bearer ${found}` } : {};
}

/**
 * A path with its parts filled in, and its query.
 *
 * @throws TypeError a part of the path cannot be one.
 */
export function target(
  template: string,
  path: Record<string, string> = {},
  query: Record<string, unknown> = {},
): string {
  const filled = template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = path[name] ?? "";
    if (["", ".", ".."].includes(value)) throw new TypeError(`${name} cannot be "${value}"`);
    return encodeURIComponent(value);
  });
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null) continue;
    given.set(name, value instanceof Date ? value.toISOString() : String(value));
  }
  return given.size ? `${filled}?${given}` : filled;
}

/**
 * A body as JSON.
 *
 * @throws TypeError a number is not finite, a date is none, or something is nothing that JSON has.
 */
export function encoded(body: unknown): string {
  return JSON.stringify(body, function (this: Record<string, unknown>, key, value: unknown) {
    const original = this[key];
    const number = original instanceof Date ? original.getTime() : value;
    if (typeof number === "number" && !Number.isFinite(number)) {
      throw new TypeError(`${key || "the body"} is ${String(original)}, which JSON does not have`);
    }
    return value;
  });
}

/** Values as lines of JSON. */
export function encodedLines(lines: Iterable<unknown>): string {
  return Array.from(lines, (line) => encoded(line) + "\n").join("");
}

/** Whether a request can be sent twice, because it names what it does or does nothing. */
export function hasIds(body: unknown): boolean {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return true; // it is no request
  const { events, request_id, dry_run } = body as Record<string, unknown>;
  if (events === undefined) return Boolean(request_id) || Boolean(dry_run);
  // What is no event is rejected, and does nothing.
  return !Array.isArray(events) || events.every((event) => typeof event !== "object" || !event || Boolean(event.id));
}

/** A failed connection, as an error of ours. */
export function failureOf(error: unknown): NoAnswerError {
  const cause = (error as { cause?: { code?: string; message?: string } } | null)?.cause;
  const said = cause?.message || cause?.code || (error instanceof Error ? error.message : String(error));
  return new NoAnswerError(`no answer: ${said}`, !UNSENT.includes(cause?.code ?? ""), error);
}

/**
 * Milliseconds until a call is made again; null: it is not. `made`: how often it was made.
 *
 * Only what is repeatable is made again, and what the server has certainly not done.
 */
export function waitOf(retries: Retries, repeatable: boolean, error: unknown, made: number): number | null {
  let again = false;
  let after: number | null = null;
  if (error instanceof ProblemError) {
    again = AGAIN.includes(error.status) && (repeatable || error.status === 429);
    after = error.retryAfter;
  } else if (error instanceof NoAnswerError) {
    again = repeatable || !error.sent;
  }
  after ??= Math.min(200 * 2 ** (made - 1) * (0.5 + Math.random()), retries.longestWait);
  return again && made <= retries.most && after <= retries.longestWait ? after : null;
}

/** Whether this failure says that an earlier attempt, of which the answer was lost, did it. */
export function doneBefore(call: Call, error: unknown, made: number): boolean {
  return call.method === "DELETE" && made > 1 && error instanceof ProblemError && error.kind === "not-found";
}
