import { describe, expect, it } from 'vitest';
import { createLog, readable } from './log.ts';

function logged(write: (log: ReturnType<typeof createLog>) => void): string[] {
  const lines: string[] = [];
  write(createLog({ level: 'info', destination: { write: line => void lines.push(line) } }));
  return lines;
}

describe('the log', () => {
  it('writes one JSON line an entry, whatever the text contains', () => {
    const lines = logged(log => log.warn({ host: 'a\n{"level":"fatal"}\u001b[31m' }, 'two\nlines'));
    expect(lines).toHaveLength(1);
    expect(lines[0]!.trimEnd()).not.toMatch(/\p{Cc}/u);
    expect(JSON.parse(lines[0]!)).toMatchObject({ level: 'warn', msg: 'two\nlines' });
  });

  it('redacts what must not be there, at three depths', () => {
    const secret = 'flt_very-secret';
    const [line] = logged(log =>
      log.error({ token: secret, request: { authorization: secret, headers: { cookie: secret } } }, 'x'),
    );
    expect(line).not.toContain(secret);
    expect(line).toContain('[redacted]');
  });

  it('keeps the whole chain of causes', () => {
    const [line] = logged(log => log.error({ err: new Error('outer', { cause: new Error('inner') }) }, 'x'));
    expect(line).toContain('outer');
    expect(line).toContain('inner');
  });

  it('leaves out what is below its level', () => {
    expect(logged(log => log.debug('quiet'))).toEqual([]);
  });
});

describe('at a terminal', () => {
  it('is one plain line, still without control characters', () => {
    const line = readable(JSON.stringify({ level: 'warn', time: 'now', msg: 'odd\u001b[31m', file: '/a' }));
    expect(line).toBe('warn  odd\\u001b[31m (file="/a")\n');
    expect(readable(JSON.stringify({ level: 'error', msg: 'failed', err: { message: 'why' } }))).toBe(
      'error failed ("why")\n',
    );
  });
});
