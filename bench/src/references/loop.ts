import type { Target } from '../simulator/identity.ts';

/** Called once when the check is over: without an error when the status was 200 and the body was read. */
export type Done = (error?: Error) => void;

/**
 * A client library used as plainly as it can be, to know what a check costs before any of our own work.
 * Callbacks, so that no loop pays for a promise that its library does not ask for.
 */
export type Loop = {
  /** GET of the target's health path, over the target's one keep-alive connection. */
  check(target: Target, done: Done): void;
  close(): Promise<void>;
};

export const HEALTH_PATH = '/health';

/** Longer than any pause between two checks of one target within a measurement. */
export const KEEP_ALIVE_MS = 60_000;

/** The check's result once its status and body are known. An empty body is no answer. */
export function settle(done: Done, status: number, bodyBytes: number): void {
  if (status === 200 && bodyBytes > 0) done();
  else done(new Error(`Answered ${status} with ${bodyBytes} bytes`));
}
