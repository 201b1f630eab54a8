import { describe, expect, it } from 'vitest';
import type { Clock } from '../clock.ts';
import { createResolver, type Lookup } from './resolver.ts';

function manualClock(): Clock & { advance(ms: number): void } {
  let nowMs = 0;
  return {
    now: () => new Date(nowMs),
    monotonicMs: () => nowMs,
    sleep: () => Promise.resolve(),
    advance(ms) {
      nowMs += ms;
    },
  };
}

/** A resolver over scripted answers, and the names it was asked for. */
function scripted(answer: (hostname: string, time: number) => readonly string[] | Error) {
  const asked: string[] = [];
  const lookup: Lookup = async hostname => {
    asked.push(hostname);
    const result = answer(hostname, asked.length);
    if (result instanceof Error) throw result;
    return result;
  };
  const clock = manualClock();
  return { clock, asked, resolver: createResolver(lookup, clock) };
}

const notFound = () => Object.assign(new Error('not found'), { code: 'ENOTFOUND' });
const settled = () => new Promise(resolve => setImmediate(resolve));

describe('a resolver', () => {
  it('asks once for a name while the answer is fresh', async () => {
    const { clock, asked, resolver } = scripted(() => ['192.0.2.1', '2001:db8::1']);
    expect(await resolver.resolve('a.example')).toEqual(['192.0.2.1', '2001:db8::1']);
    clock.advance(44_000);
    await resolver.resolve('a.example');
    expect(asked).toEqual(['a.example']);
  });

  it('asks once for a name that many want at the same time', async () => {
    const { asked, resolver } = scripted(() => ['192.0.2.1']);
    await Promise.all(Array.from({ length: 50 }, () => resolver.resolve('a.example')));
    expect(asked).toEqual(['a.example']);
  });

  it('uses an old answer at once and fetches a new one behind it', async () => {
    const { clock, resolver } = scripted((_, time) => [`192.0.2.${time}`]);
    await resolver.resolve('a.example');
    clock.advance(60_000);
    expect(await resolver.resolve('a.example')).toEqual(['192.0.2.1']);
    await settled();
    expect(await resolver.resolve('a.example')).toEqual(['192.0.2.2']);
  });

  it('reuses the last answer for ten minutes when the resolver is dead, and not longer', async () => {
    const { clock, resolver } = scripted((_, time) => (time === 1 ? ['192.0.2.1'] : notFound()));
    await resolver.resolve('a.example');
    clock.advance(599_000);
    expect(await resolver.resolve('a.example')).toEqual(['192.0.2.1']);
    await settled();
    expect(await resolver.resolve('a.example')).toEqual(['192.0.2.1']);
    clock.advance(6_000);
    await expect(resolver.resolve('a.example')).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  it('remembers a failure for five seconds', async () => {
    const { clock, asked, resolver } = scripted((_, time) => (time === 1 ? notFound() : ['192.0.2.1']));
    await expect(resolver.resolve('a.example')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    clock.advance(4_000);
    await expect(resolver.resolve('a.example')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect(asked).toHaveLength(1);
    clock.advance(2_000);
    expect(await resolver.resolve('a.example')).toEqual(['192.0.2.1']);
  });

  it('takes an empty answer for a failure', async () => {
    const { resolver } = scripted(() => []);
    await expect(resolver.resolve('a.example')).rejects.toMatchObject({ code: 'ENODATA' });
  });

  it('asks for few names at a time, so that slow ones cannot take every thread', async () => {
    const finish: (() => void)[] = [];
    const lookup: Lookup = () => new Promise(resolve => finish.push(() => resolve(['192.0.2.1'])));
    const resolver = createResolver(lookup, manualClock());
    const names = Array.from({ length: 10 }, (_, index) => resolver.resolve(`${index}.example`));
    await settled();
    expect(finish).toHaveLength(2);
    expect(resolver.waiting).toBe(8);
    while (finish.length > 0) {
      finish.shift()!();
      await settled();
    }
    expect(await Promise.all(names)).toHaveLength(10);
  });

  it('refreshes names that answer before it asks for names that may not', async () => {
    const asked: string[] = [];
    const hanging: (() => void)[] = [];
    const clock = manualClock();
    const resolver = createResolver(hostname => {
      asked.push(hostname);
      if (!hostname.startsWith('hangs')) return Promise.resolve(['192.0.2.1']);
      return new Promise((_, reject) => hanging.push(() => reject(notFound())));
    }, clock);
    await resolver.resolve('good.example');
    clock.advance(60_000);
    const hung = [1, 2, 3, 4].map(index => resolver.resolve(`hangs${index}.example`));
    expect(await resolver.resolve('good.example')).toEqual(['192.0.2.1']);
    await settled();
    hanging[0]!();
    await expect(hung[0]).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await settled();
    expect(asked.slice(1)).toEqual(['hangs1.example', 'hangs2.example', 'good.example', 'hangs3.example']);
  });

  it('knows at most 20,000 names and gives up the oldest', async () => {
    const { asked, resolver } = scripted(() => ['192.0.2.1']);
    for (let index = 0; index <= 20_000; index++) await resolver.resolve(`${index}.example`);
    expect(resolver.entries).toBe(20_000);
    asked.length = 0;
    await resolver.resolve('20000.example');
    expect(asked).toEqual([]);
    await resolver.resolve('0.example');
    expect(asked).toEqual(['0.example']);
  });
});
