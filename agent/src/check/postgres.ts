import { exchange } from './exchange.ts';
import type { Finding, Probe } from './watch.ts';

const maxErrorBytes = 4 * 1024;
const headerBytes = 5;

/**
 * Finds out whether a PostgreSQL accepts connections, without credentials: starts to log in and judges the
 * first message of the reply (PostgreSQL documentation, "Message Formats").
 */
export function postgresProbe(timeoutMs: number): Probe {
  return {
    usualPlaces: [
      { path: '/var/run/postgresql/.s.PGSQL.5432' },
      { path: '/tmp/.s.PGSQL.5432' },
      { host: '127.0.0.1', port: 5432 },
    ],
    async ask(address) {
      const exchanged = await exchange(address, { request: startupMessage(), read: readReply, timeoutMs });
      if ('answer' in exchanged) return exchanged.answer;
      return { status: 'failed', message: exchanged.unanswered, recognised: false };
    },
  };
}

/** StartupMessage of protocol 3.0: length, version, then names and values, each ended by a zero. */
function startupMessage(): Buffer {
  const protocol3 = 196_608;
  const parameters = Buffer.from('user\0opsfleet-agent\0database\0postgres\0\0');
  const message = Buffer.alloc(8 + parameters.length);
  message.writeInt32BE(message.length, 0);
  message.writeInt32BE(protocol3, 4);
  parameters.copy(message, 8);
  return message;
}

/** Judges the first message of a reply; undefined while it is incomplete. */
export function readReply(received: Buffer): Finding | undefined {
  const type = String.fromCharCode(received[0] ?? 0);
  if (received.length > 0 && type !== 'R' && type !== 'E') return garbage;
  if (received.length < headerBytes) return undefined;
  // The length counts itself but not the type.
  const length = received.readInt32BE(1);
  if (length < 8 || length > maxErrorBytes) return garbage;
  if (type === 'R') return { status: 'ok', recognised: true };
  if (received.length < 1 + length) return undefined;
  return judgeError(received.toString('utf8', headerBytes, 1 + length));
}

/** ErrorResponse: fields of one letter and a text ended by a zero. C is the SQLSTATE, M the message. */
function judgeError(body: string): Finding {
  const fields = new Map(body.split('\0').map(field => [field.slice(0, 1), field.slice(1)]));
  const sqlState = fields.get('C') ?? '';
  if (!/^[0-9A-Z]{5}$/.test(sqlState)) return garbage;
  // Class 28: who are you? 3D000: no such database. Both come from a server that lets others in.
  if (sqlState.startsWith('28') || sqlState === '3D000') return { status: 'ok', recognised: true };
  // 53300, too many connections: those who have one are served. Otherwise it starts, stops or is broken.
  const status = sqlState === '53300' ? 'degraded' : 'failed';
  return { status, message: `${sqlState}: ${(fields.get('M') ?? '').slice(0, 200)}`, recognised: true };
}

const garbage: Finding = {
  status: 'failed',
  message: 'did not answer as PostgreSQL does',
  recognised: false,
};
