import type { Clock } from './clock.ts';

type Fields = Readonly<Record<string, string | number>>;

/** Writes one line of JSON for each event, so that no foreign byte can forge a line or steer a terminal. */
export type Log = {
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  /** The same at most once a minute for each message, with the number of times it was held back. */
  warnSometimes(message: string, fields?: Fields): void;
};

const quietMs = 60_000;

/** A log that hands its finished lines, newline included, to `write`. */
export function createLog(write: (line: string) => void, clock: Clock): Log {
  const spoken = new Map<string, { atMs: number; heldBack: number }>();

  function line(level: 'info' | 'warn', message: string, fields: Fields = {}): void {
    write(`${JSON.stringify({ time: clock.now().toISOString(), level, message, ...fields })}\n`);
  }

  return {
    info: (message, fields) => line('info', message, fields),
    warn: (message, fields) => line('warn', message, fields),
    warnSometimes(message, fields) {
      const nowMs = clock.monotonicMs();
      const last = spoken.get(message);
      if (last !== undefined && nowMs - last.atMs < quietMs) {
        last.heldBack += 1;
        return;
      }
      spoken.set(message, { atMs: nowMs, heldBack: 0 });
      line('warn', message, last?.heldBack ? { ...fields, heldBack: last.heldBack } : fields);
    },
  };
}

/** The words of a failure, without its stack. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
