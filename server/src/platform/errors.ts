/**
 * Every failure a caller may be told about. `platform/http/errors.ts` is the only file that turns one
 * into a status code; anything that is not an AppError is `internal` to the caller and detailed to the log.
 */
export type ErrorCode =
  | 'malformed'
  | 'invalid'
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'method_not_allowed'
  | 'conflict'
  | 'precondition_failed'
  | 'too_large'
  | 'unsupported_media_type'
  | 'rate_limited'
  | 'upstream_failed'
  | 'unavailable'
  | 'internal';

/** One wrong field of a request: a JSON pointer into the body, or `query/limit`-like for the rest. */
export type FieldError = { pointer: string; detail: string };

/** An expected failure. `message` is shown to the caller, so it names no secret and no internal. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly errors: readonly FieldError[] | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; errors?: readonly FieldError[]; retryAfterSeconds?: number } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.errors = options.errors;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** A mistake of the person who starts the program (settings, data directory). Printed without a stack. */
export class StartupError extends Error {
  override readonly name = 'StartupError';
}
