/** What the client is made of. */

import { address, authorization, doneBefore, failureOf, waitOf, type Call, type Retries } from "./calls.js";
import { NextbestError, NoAnswerError, parsed, problemOf, TimedOutError } from "./errors.js";
import { answersOf, Exchange, Portions, Splitter, type BadLine, type Line, type Portion } from "./lines.js";
import type { Decision } from "./types.js";

/** How a client is set up. */
export interface Settings {
  /** The API key. It does not belong in a browser. */
  key?: string | undefined;
  /** How many milliseconds an answer may take; 5,000. Of a stream: from one piece to the next. */
  timeout?: number;
  /** How often a call is made again, where that can do nothing twice; 2. */
  retries?: number;
  /** Where `Retry-After` says more milliseconds, the error comes at once; 30,000. */
  longestWait?: number;
  /** A `fetch` of your own. */
  fetch?: typeof fetch;
}

/** What may be said of one call. */
export interface Options {
  /** Milliseconds, instead of the client's. */
  timeout?: number | undefined;
  /** Ends the call: its reason is thrown. */
  signal?: AbortSignal | undefined;
}

/** What may be said of a batch. */
export interface BatchOptions extends Options {
  /** How many requests are sent together; 200. */
  portion?: number;
}

/** One is enough for a process: connections are kept open by `fetch`. */
export class Base {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #timeout: number;
  readonly #retries: Retries;
  readonly #fetch: typeof fetch;

  constructor(url: string, settings: Settings = {}) {
    this.#url = address(url);
    this.#headers = authorization(settings.key);
    this.#timeout = settings.timeout ?? 5000;
    this.#retries = { most: settings.retries ?? 2, longestWait: settings.longestWait ?? 30_000 };
    this.#fetch = settings.fetch ?? ((...given) => fetch(...given));
  }

  /**
   * Decides many requests, which may be lines of a file; a `BadLine` stands for a bad one.
   *
   * Requests are taken as answers are wanted, `portion` at a time, so there may be millions.
   */
  async *decideBatch(
    requests: Iterable<Line> | AsyncIterable<Line>,
    { portion = 200, timeout = 60_000, signal }: BatchOptions = {},
  ): AsyncGenerator<Decision | BadLine, void, undefined> {
    const portions = new Portions(portion);
    const send = (ready: Portion) =>
      this.#attempts(ready, { timeout, signal }, async (answer) =>
        answersOf(ready, answer, await answer.text()),
      );
    const decide = async (ready: Portion) => {
      const exchange = new Exchange(ready, this.#retries);
      let wait: number | null;
      while ((wait = exchange.take(await send(exchange.portion))) !== null) await pause(wait, signal);
      return exchange.answers;
    };
    for await (const request of requests) {
      for (const ready of portions.add(request)) yield* await decide(ready);
    }
    for (const ready of portions.rest()) yield* await decide(ready);
  }

  /** The JSON of an answer. */
  protected async json<T>(call: Call, options?: Options): Promise<T> {
    return await this.#attempts(call, options, async (answer) => parsed(answer, await answer.text()) as T);
  }

  /** The end of `Location`, where the answer has one. */
  protected async location(call: Call, options?: Options): Promise<string | null> {
    return await this.#attempts(call, options, async (answer) => {
      if (answer.status !== 204) throw problemOf(answer, await answer.text());
      return answer.headers.get("location")?.replace(/^.*\//, "") ?? null;
    });
  }

  /** The lines of an answer, as they come. */
  protected async *lines(call: Call, options: Options = {}): AsyncGenerator<any, void, undefined> {
    const timeout = options.timeout ?? this.#timeout;
    const end = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, end.signal]) : end.signal;
    const answer = await this.#attempts(call, { timeout, signal }, async (answer) => answer);
    const splitter = new Splitter();
    let ended = false;
    try {
      const reader = answer.body?.getReader();
      for (let done = reader === undefined; !done; ) {
        const late = () => end.abort(new TimedOutError(`nothing more within ${timeout} ms`, true));
        const timer = setTimeout(late, timeout);
        const piece = await until(signal, reader!.read()).finally(() => clearTimeout(timer));
        for (const line of splitter.add(piece.value ?? null)) {
          const found = parsed(answer, line);
          ended = call.last?.includes(found.kind) ?? true;
          yield found;
        }
        done = piece.done;
      }
      if (!ended) throw new NoAnswerError("the answer ended before its last line", true);
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof NextbestError ? error : failureOf(error);
    } finally {
      end.abort();
    }
  }

  /** What `read` makes of the answer to a call, which is made again where that is right. */
  async #attempts<T>(
    call: Call,
    { timeout = this.#timeout, signal }: Options = {},
    read: (answer: Response) => Promise<T>,
  ): Promise<T> {
    for (let made = 1; ; made++) {
      try {
        return await within(timeout, signal, (signal) => this.#attempt(call, made, signal, read));
      } catch (error) {
        const wait = waitOf(this.#retries, call.repeatable ?? false, error, made);
        if (wait === null) throw error;
        await pause(wait, signal);
      }
    }
  }

  async #attempt<T>(
    call: Call,
    made: number,
    signal: AbortSignal,
    read: (answer: Response) => Promise<T>,
  ): Promise<T> {
    const headers = { ...this.#headers };
    if (call.body !== undefined) {
      headers["content-type"] = call.lines ? "application/x-ndjson" : "application/json";
    }
    const { method, body = null } = call;
    const url = this.#url + call.target;
    const answer = await this.#fetch(url, { method, headers, body, redirect: "manual", signal });
    if (answer.ok) return read(answer);
    const problem = problemOf(answer, await answer.text());
    if (doneBefore(call, problem, made)) return read(new Response(null, { status: 204 }));
    throw problem;
  }
}

/** Work that is ended where it takes too long, or where the caller wants no more of it. */
async function within<T>(
  timeout: number,
  given: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), timeout);
  try {
    const signal = given ? AbortSignal.any([given, late.signal]) : late.signal;
    return await until(signal, work(signal));
  } catch (error) {
    given?.throwIfAborted();
    if (late.signal.aborted) throw new TimedOutError(`no answer within ${timeout} ms`, true, error);
    throw error instanceof NextbestError ? error : failureOf(error);
  } finally {
    clearTimeout(timer);
  }
}

/** Work that ends with the signal: in Node 20, a body that cannot be unpacked does not end at all. */
function until<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((give, fail) => {
    const end = () => fail(signal.reason);
    if (signal.aborted) end();
    signal.addEventListener("abort", end, { once: true });
    work.then(give, fail).finally(() => signal.removeEventListener("abort", end));
  });
}

/** Waits, unless the caller wants no more of it. */
async function pause(milliseconds: number, given: AbortSignal | undefined): Promise<void> {
  given?.throwIfAborted();
  const over = new AbortController();
  await new Promise<void>((done) => {
    const timer = setTimeout(done, milliseconds);
    const end = () => (clearTimeout(timer), done());
    given?.addEventListener("abort", end, { signal: over.signal });
  });
  over.abort();
  given?.throwIfAborted();
}
