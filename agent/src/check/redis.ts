import { exchange } from './exchange.ts';
import type { Finding, Probe } from './watch.ts';

const maxLineBytes = 512;

/** Finds out whether a Redis answers commands: PING, after AUTH where there is a password (RESP2). */
export function redisProbe(password: string | null, timeoutMs: number): Probe {
  const commands = password === null ? [['PING']] : [['AUTH', password], ['PING']];
  return {
    usualPlaces: [{ host: '127.0.0.1', port: 6379 }],
    async ask(address) {
      const exchanged = await exchange(address, {
        request: Buffer.from(commands.map(encode).join('')),
        read: received => readReply(received, commands.length),
        timeoutMs,
      });
      if ('answer' in exchanged) return exchanged.answer;
      return { status: 'failed', message: exchanged.unanswered, recognised: false };
    },
  };
}

/** Judges the reply to `commands` commands by its last line or its first error; undefined while incomplete. */
export function readReply(received: Buffer, commands: number): Finding | undefined {
  const lines = received.toString('utf8').split('\r\n');
  const unfinished = lines.pop() ?? '';
  const decisive = lines.find((line, index) => index === commands - 1 || line.startsWith('-'));
  if (decisive !== undefined) return judgeLine(decisive);
  return unfinished.length > maxLineBytes ? garbage : undefined;
}

function judgeLine(line: string): Finding {
  if (line === '+PONG') return { status: 'ok', recognised: true };
  const [, code = ''] = /^-([A-Z]{1,32}) /.exec(line) ?? [];
  switch (code) {
    case '':
      return garbage;
    // It answers commands, only not ours.
    case 'NOAUTH':
    case 'NOPERM':
    case 'DENIED':
      return { status: 'ok', recognised: true };
    // It answers some, or somebody with the right password.
    case 'WRONGPASS':
    case 'BUSY':
    case 'MASTERDOWN':
      return { status: 'degraded', message: line.slice(1, 201), recognised: true };
    default:
      return { status: 'failed', message: line.slice(1, 201), recognised: true };
  }
}

function encode(command: readonly string[]): string {
  return `*${command.length}\r\n${command.map(word => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
}

const garbage: Finding = { status: 'failed', message: 'did not answer as Redis does', recognised: false };
