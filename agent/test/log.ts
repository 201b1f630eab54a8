import type { Log } from '../src/log.ts';

/** A log that keeps what it is told. */
export function memoryLog(): Log & { messages: string[] } {
  const messages: string[] = [];
  const keep = (message: string): void => void messages.push(message);
  return { messages, info: keep, warn: keep, warnSometimes: keep };
}
