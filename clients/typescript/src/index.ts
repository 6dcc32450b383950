/**
 * The client of nextbest, which decides what to say next to a customer.
 *
 * Requests and answers are the API's JSON as plain objects.
 */

export type { BatchOptions, Options, Settings } from "./base.js";
export { Client } from "./client.js";
export { NextbestError, NoAnswerError, ProblemError, TimedOutError } from "./errors.js";
export type { FieldProblem, Problem } from "./errors.js";
export type { BadLine, Line } from "./lines.js";
export type * from "./types.js";
