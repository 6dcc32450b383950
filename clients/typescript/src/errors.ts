/** What can go wrong with a call. */

const TYPE = "urn:nextbest:problem:";

/** A field of a request that cannot be used: its path, as `event.at`, and how to fix it. */
export interface FieldProblem {
  path: string;
  detail: string;
}

/** A call failed. */
export class NextbestError extends Error {
  override name = "NextbestError";
}

/** What a `ProblemError` says. */
export interface Problem {
  /** The HTTP status. */
  status: number;
  /** The end of the problem's type, such as `not-found`; empty where it is a proxy's answer. */
  kind: string;
  title: string;
  detail: string;
  /** Each bad field. */
  errors: FieldProblem[];
  /** Names the request in the server's log. */
  instance: string | null;
  /** Milliseconds after which to try again, where the server says so. */
  retryAfter: number | null;
}

/** The server answered, and it is no success (RFC 9457), or not nextbest's answer. */
export class ProblemError extends NextbestError implements Problem {
  override name = "ProblemError";
  readonly status: number;
  readonly kind: string;
  readonly title: string;
  readonly detail: string;
  readonly errors: FieldProblem[];
  readonly instance: string | null;
  readonly retryAfter: number | null;

  constructor(problem: Problem) {
    const { status, kind, title, detail } = problem;
    super([`${status} ${kind || title}`, detail].filter(Boolean).join(": "));
    this.status = status;
    this.kind = kind;
    this.title = title;
    this.detail = detail;
    this.errors = problem.errors;
    this.instance = problem.instance;
    this.retryAfter = problem.retryAfter;
  }
}

/** There is no complete answer: the connection failed, or ended before the answer did. */
export class NoAnswerError extends NextbestError {
  override name = "NoAnswerError";
  /** Whether the server may have done what was asked. */
  readonly sent: boolean;

  constructor(detail: string, sent: boolean, cause?: unknown) {
    super(detail, { cause });
    this.sent = sent;
  }
}

/** The answer took longer than `timeout`. */
export class TimedOutError extends NoAnswerError {
  override name = "TimedOutError";
}

/** An answer that is no success, as an error. */
export function problemOf(answer: Response, body: string): ProblemError {
  const rest = { status: answer.status, retryAfter: milliseconds(answer.headers.get("retry-after")) };
  try {
    const found = object(JSON.parse(body));
    const type = text(found.type);
    if (type.startsWith(TYPE)) {
      const [kind, title, detail] = [type.slice(TYPE.length), text(found.title), text(found.detail)];
      const errors = found.errors.map((one: FieldProblem) => ({ path: text(one.path), detail: text(one.detail) }));
      const instance = (found.instance ?? null) === null ? null : text(found.instance);
      return new ProblemError({ ...rest, kind, title, detail, errors, instance });
    }
  } catch {
    // It is not nextbest's answer.
  }
  const detail = body.slice(0, 200).split(/\s+/).filter(Boolean).join(" ");
  const title = answer.statusText || "Unknown status";
  return new ProblemError({ ...rest, kind: "", title, detail, errors: [], instance: null });
}

/**
 * The JSON object of an answer, or of one of its lines.
 *
 * @throws ProblemError it is none, so the answer is not nextbest's.
 */
export function parsed(answer: Response, body: string): any {
  try {
    return object(JSON.parse(body));
  } catch {
    throw problemOf(answer, body);
  }
}

/** The value, which must be an object. */
function object(value: any): any {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new TypeError("no object");
  return value;
}

function text(value: unknown): string {
  if (typeof value !== "string") throw new TypeError("no text");
  return value;
}

/** `Retry-After`: seconds, or a date. */
function milliseconds(given: string | null): number | null {
  if (given === null) return null;
  if (/^\s*\d+\s*$/.test(given)) return Number(given) * 1000;
  const at = /[a-z]{3}/i.test(given) ? Date.parse(given) : NaN;
  return Number.isNaN(at) ? null : Math.max(0, at - Date.now());
}
