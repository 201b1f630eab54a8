import { type DestinationStream, type Logger, pino, stdSerializers } from 'pino';

export type Log = Logger;

export type LogOptions = { level: string; destination?: DestinationStream };

/**
 * Structured lines on stderr: JSON for programs, one plain line each at a terminal (stdout is for what the
 * person who typed the command reads). JSON escapes control characters, so a hostile hostname cannot forge a
 * line. The redaction list is a net under the rule that no secret is ever handed to the log.
 */
export function createLog(options: LogOptions): Log {
  return pino(
    {
      level: options.level,
      base: undefined,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      serializers: { err: describeError },
      redact: { paths: [...redacted], censor: '[redacted]' },
    },
    options.destination ?? (process.stderr.isTTY ? terminal : process.stderr),
  );
}

/** With its causes, without what a driver hangs on it: pg puts the whole connection there. */
function describeError(error: unknown): unknown {
  const { client: _client, ...rest } = stdSerializers.errWithCause(error as Error) as Record<string, unknown>;
  return rest;
}

const names = ['authorization', 'cookie', 'token', 'api_token', 'password', 'secret'];
const redacted = names.flatMap(name => [name, `*.${name}`, `*.*.${name}`]);

const terminal: DestinationStream = { write: line => void process.stderr.write(readable(line)) };

/** `warn  text (field=value, …)`, still on one line and still escaped. */
export function readable(line: string): string {
  const { level, time: _time, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const cause = (err as { message?: unknown } | undefined)?.message;
  const notes = Object.entries(fields).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  if (cause !== undefined) notes.unshift(JSON.stringify(cause));
  const details = notes.length === 0 ? '' : ` (${notes.join(', ')})`;
  return `${String(level).padEnd(5)} ${JSON.stringify(msg ?? '').slice(1, -1)}${details}\n`;
}
