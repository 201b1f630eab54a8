import pg from 'pg';
import { AppError } from './errors.ts';

/** The SQLSTATE of a PostgreSQL error, or null for anything else. */
export function sqlState(error: unknown): string | null {
  const cause = error instanceof AppError ? error.cause : error;
  return cause instanceof pg.DatabaseError ? (cause.code ?? null) : null;
}

/**
 * What another machine of a Citus cluster has refused comes without the name, and in the message the number of the part of
 * the table follows it; they begin at 102008.
 */
const toldInMessage = /\bconstraint "(.+?)(?:_\d{6,})?"/;

/** The name of the violated constraint, or null. */
export function violatedConstraint(error: unknown): string | null {
  const cause = error instanceof AppError ? error.cause : error;
  if (!(cause instanceof pg.DatabaseError)) return null;
  return cause.constraint ?? toldInMessage.exec(cause.message)?.[1] ?? null;
}

// https://www.postgresql.org/docs/current/errcodes-appendix.html: connection exceptions, shutdown and
// start-up, read-only after a failover, out of resources, statement or lock time-out, deadlock.
const passing = /^(08|53|57P0[1-5]$|57014$|55P03$|25006$|40P01$|40001$)/;

/** Whether the failure is the database's state and not the statement's fault: worth a retry later. */
export function isPassingFailure(error: unknown): boolean {
  if (error instanceof AppError) return error.code === 'unavailable';
  const state = sqlState(error);
  return state === null ? isConnectionFailure(error) : passing.test(state);
}

/**
 * Whether the values are at fault, so that the same statement works without them. Any other failure, such as a
 * missing right, table or column, would meet every statement, and is no reason to give anything up.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html: data exceptions, integrity constraints, program limits.
 */
export function isFaultOfValues(error: unknown): boolean {
  const state = sqlState(error);
  return state === null ? !isPassingFailure(error) : /^(22|23|54)/.test(state);
}

/**
 * Whether the statement is at fault: a table, column or right that it needs is missing. The schema is checked at
 * every start, so this is a bug of ours, or another version that is at work on the database. It does not pass by
 * itself, but whoever mends it expects that nothing was lost.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html: feature not supported (also a plan whose
 * columns have changed), syntax error or access rule violation.
 */
export const isFaultOfStatement = (error: unknown): boolean => /^(0A|42)/.test(sqlState(error) ?? '');

/** Whether the connection is of no use any more. */
export function isConnectionFailure(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return /^(08|57P0[1-5]$|25006$)/.test(error.code ?? '');
  if (!(error instanceof Error)) return false;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return (
    /^(ECONN|EPIPE|ENOENT$|ETIMEDOUT|EHOST|ENET|EAI_)/.test(code) ||
    /Connection terminated|timeout exceeded when trying to connect|timeout expired|Client has encountered a connection error|not queryable/.test(
      error.message,
    )
  );
}

/** What a caller is told by SQLSTATE; the first that fits. */
const reasons: readonly (readonly [RegExp, string])[] = [
  [/^53100$/, 'The disk of the database is full.'],
  [/^53300$/, 'The database has no connections left.'],
  [/^25006$/, 'The database takes no writes: it is a standby, or set to read-only.'],
  [/^57P0[123]$/, 'The database is starting up or shutting down.'],
  [/^(57014|55P03|40...)$/, 'The database is too busy to answer in time.'],
  [/^(28|3D)/, 'The database refuses us.'],
];
const retryAfterSeconds = 5;

/** The failure as a caller may be told of it: try again later. */
export function unavailable(cause: unknown): AppError {
  if (cause instanceof AppError) return cause;
  const state = sqlState(cause) ?? '';
  const [, reason] = reasons.find(([pattern]) => pattern.test(state)) ?? [];
  return new AppError('unavailable', reason ?? 'The database cannot be reached.', {
    cause,
    retryAfterSeconds,
  });
}

/** A failure of a statement: `unavailable` where it is the database's state, as it is where not. */
export const asAnswer = (error: unknown): unknown => (isPassingFailure(error) ? unavailable(error) : error);
