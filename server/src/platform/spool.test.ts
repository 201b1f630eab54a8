import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createMemoryDisk, type MemoryDisk } from '../../test/fakes/memory-disk.ts';
import { createLog } from './log.ts';
import { openSpool, type Spool, type SpoolOptions, type SpoolQueue } from './spool.ts';

const at = new Date('2026-11-02T00:00:00Z');

/** A spool of two queues on the disk, and what it said. */
async function open(disk: MemoryDisk, options: Partial<SpoolOptions> = {}) {
  const said: { level: string; msg: string }[] = [];
  const spool = await openSpool({
    files: disk.files,
    queues: ['states', 'history'],
    limitBytes: 1_000_000,
    now: () => at,
    log: createLog({ level: 'warn', destination: { write: line => void said.push(JSON.parse(line)) } }),
    ...options,
  });
  return { spool, states: spool.queue('states'), history: spool.queue('history'), said };
}

const record = (text: string): Uint8Array => Buffer.from(text);
const put = async (queue: SpoolQueue, ...texts: string[]) => queue.append(texts.map(record));
/** Takes up to `count` records out, into `taken`. */
async function take(
  queue: SpoolQueue,
  count = Number.POSITIVE_INFINITY,
  taken: string[] = [],
): Promise<string[]> {
  while (taken.length < count) {
    const found = await queue.peek();
    if (found === null) break;
    taken.push(Buffer.from(found).toString());
    await queue.drop();
  }
  return taken;
}
function copyOf(disk: MemoryDisk): MemoryDisk {
  const copy = createMemoryDisk();
  for (const name of disk.names()) copy.write(name, disk.bytes(name));
  return copy;
}
const messages = (said: { msg: string }[]): string[] => said.map(({ msg }) => msg);

describe('a spool', () => {
  it('gives back what it was given, in order, each queue for itself', async () => {
    const { states, history } = await open(createMemoryDisk());
    expect(await put(states, 'a', 'b')).toEqual({ taken: 2, failure: null });
    await put(history, 'x');
    await put(states, 'c');
    expect(states.records()).toBe(3);
    expect(await take(states)).toEqual(['a', 'b', 'c']);
    expect(await take(history)).toEqual(['x']);
  });

  it('keeps a record until it is dropped, also when more comes while it is looked at', async () => {
    const { states } = await open(createMemoryDisk());
    await put(states, 'a');
    expect(await states.peek()).toEqual(record('a'));
    await put(states, 'b');
    expect(await states.peek()).toEqual(record('a'));
    await states.drop();
    expect(await take(states)).toEqual(['b']);
  });

  it('leaves no file behind once it is empty', async () => {
    const disk = createMemoryDisk();
    const { spool, states } = await open(disk, { segmentBytes: 20 });
    for (const text of ['a', 'b', 'c', 'd']) await put(states, text.repeat(10));
    expect(disk.names()).toHaveLength(2);
    await take(states);
    expect(disk.names()).toEqual([]);
    expect(spool.stats()).toEqual({ bytes: 0, records: 0, oldestAt: null, torn: 0, corrupt: 0 });
  });

  it('tells how much waits and for how long', async () => {
    const disk = createMemoryDisk();
    const { states } = await open(disk);
    await put(states, 'a', 'bc');
    const { spool } = await open(disk, { now: () => new Date(at.getTime() + 5_000) });
    await put(spool.queue('history'), 'x');
    expect(spool.stats()).toEqual({
      bytes: 8 + 1 + 8 + 2 + 8 + 1,
      records: 3,
      oldestAt: at,
      torn: 0,
      corrupt: 0,
    });
  });

  it('delivers after a restart what was not dropped, and again what was dropped of an unfinished segment', async () => {
    const disk = createMemoryDisk();
    const first = await open(disk, { segmentBytes: 18 });
    for (const text of ['a', 'b', 'c', 'd', 'e']) await put(first.states, text);
    // Two records a segment.
    expect(await take(first.states, 3)).toEqual(['a', 'b', 'c']);
    const second = await open(disk);
    expect(await take(second.states)).toEqual(['c', 'd', 'e']);
    expect(second.said).toEqual([]);
  });
});

describe('a spool that is full', () => {
  it('refuses the newest of any queue, says so once, and once more when it has room again', async () => {
    const { spool, states, history, said } = await open(createMemoryDisk(), { limitBytes: 30 });
    expect(await put(states, 'a', 'b', 'c', 'd')).toEqual({ taken: 3, failure: 'full' });
    expect(await put(history, 'x')).toEqual({ taken: 0, failure: 'full' });
    expect(messages(said)).toEqual(['the spool is full; newer records are refused']);
    expect(spool.stats().bytes).toBe(27);
    expect(await take(states)).toEqual(['a', 'b', 'c']);
    expect(await put(history, 'x')).toEqual({ taken: 1, failure: null });
    expect(messages(said)).toEqual([
      'the spool is full; newer records are refused',
      'the spool has room again',
    ]);
  });

  it('counts what an earlier process left', async () => {
    const disk = createMemoryDisk();
    await put((await open(disk)).states, 'a', 'b');
    const { history } = await open(disk, { limitBytes: 25 });
    expect(await put(history, 'x')).toEqual({ taken: 0, failure: 'full' });
  });
});

describe('a disk in trouble', () => {
  it.each(['ENOSPC', 'EIO', 'EROFS'])(
    '%s is a value; what it left half done is never delivered',
    async code => {
      const disk = createMemoryDisk();
      const { states, said } = await open(disk);
      await put(states, 'a');
      disk.refuseWrites(code);
      expect(await put(states, 'bbbb')).toEqual({ taken: 0, failure: code });
      expect(await put(states, 'bbbb')).toEqual({ taken: 0, failure: code });
      disk.refuseWrites(null);
      expect(await put(states, 'c')).toEqual({ taken: 1, failure: null });
      expect(messages(said)).toEqual([
        'the disk does not take records into the spool',
        'the disk takes records into the spool again',
      ]);
      const restarted = await open(copyOf(disk));
      expect(await take(restarted.states)).toEqual(['a', 'c']);
      expect(await take(states)).toEqual(['a', 'c']);
    },
  );

  it('a record that is corrupt costs the rest of its segment, counted and said, and nothing else', async () => {
    const disk = createMemoryDisk();
    const { states } = await open(disk, { segmentBytes: 27 });
    for (const text of ['a', 'b', 'c', 'd', 'e']) await put(states, text);
    const [first] = disk.names() as [string];
    const bytes = Uint8Array.from(disk.bytes(first));
    bytes[9 + 8] = 'x'.charCodeAt(0);
    disk.write(first, bytes);
    const { spool, said, states: left } = await open(disk);
    expect(await take(left)).toEqual(['a', 'd', 'e']);
    expect(spool.stats().corrupt).toBe(1);
    expect(messages(said)).toEqual(['a spool segment is corrupt; the rest of it is lost']);
  });

  it('the same where it happens while the process runs', async () => {
    const disk = createMemoryDisk();
    const { spool, states, said } = await open(disk, { segmentBytes: 9 });
    await put(states, 'a', 'b');
    await put(states, 'c');
    const [first] = disk.names() as [string];
    disk.write(first, disk.bytes(first).subarray(0, 12));
    expect(await take(states)).toEqual(['a', 'c']);
    expect(spool.stats()).toMatchObject({ corrupt: 1, records: 0, bytes: 0 });
    expect(messages(said)).toEqual(['spooled records cannot be read back; they are lost']);
  });

  it('a file that the process may not open now is read later', async () => {
    const disk = createMemoryDisk();
    let isShort = false;
    const files = {
      ...disk.files,
      read: async (name: string) => {
        if (isShort) throw Object.assign(new Error('too many open files'), { code: 'EMFILE' });
        return disk.files.read(name);
      },
    };
    const { states } = await open(disk, { files });
    await put(states, 'a');
    isShort = true;
    await expect(states.peek()).rejects.toThrow('too many open files');
    isShort = false;
    expect(await take(states)).toEqual(['a']);
  });

  it('a segment that the disk does not give back now is asked for again, and passed over only in the end', async () => {
    const disk = createMemoryDisk();
    let failures = 0;
    const files = {
      ...disk.files,
      read: async (name: string) => {
        if (failures-- > 0) throw Object.assign(new Error('input/output error'), { code: 'EIO' });
        return disk.files.read(name);
      },
    };
    const { spool, states, said } = await open(disk, { files, segmentBytes: 9 });
    for (const text of ['a', 'b', 'c']) await put(states, text);
    failures = 59;
    for (let tries = 0; tries < 59; tries += 1)
      await expect(states.peek()).rejects.toThrow('input/output error');
    expect(await take(states, 1)).toEqual(['a']);
    failures = 60;
    for (let tries = 0; tries < 59; tries += 1)
      await expect(states.peek()).rejects.toThrow('input/output error');
    expect(await take(states)).toEqual(['c']);
    expect(spool.stats()).toMatchObject({ corrupt: 1, records: 0 });
    expect(messages(said)).toEqual([
      'a spool segment cannot be read; it is passed over',
      'spooled records cannot be read back; they are lost',
    ]);
    // Somebody may get from it tomorrow what the disk does not give back today.
    const next = await open(disk);
    expect(await take(next.states)).toEqual(['b']);
  });

  it('passes over files that are not its own', async () => {
    const disk = createMemoryDisk();
    disk.write('lock', record('x'));
    disk.write('states-1.spool', record('x'));
    const { spool } = await open(disk);
    expect(spool.stats()).toMatchObject({ records: 0, corrupt: 0 });
    expect(disk.names()).toEqual(['lock', 'states-1.spool']);
  });
});

/** What happens to a spool: records of these sizes in one call, or so many taken out. */
const step = fc.oneof(
  fc.record({ put: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 4 }) }),
  fc.record({ take: fc.integer({ min: 1, max: 5 }) }),
);
/** A life ends when its steps are done, or in the middle of any byte. */
const life = fc.record({
  steps: fc.array(step, { maxLength: 12 }),
  crashAfter: fc.integer({ min: 1, max: 600 }),
  zeros: fc.boolean(),
});

it('loses nothing it has taken and keeps the order, at whatever byte the power fails, life after life', async () => {
  let torn = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(life, { minLength: 1, maxLength: 4 }), async lives => {
      const disk = createMemoryDisk();
      /** What must come, in order, and before it what was dropped and may come again. */
      let promised: string[] = [];
      let dropped: string[] = [];
      let count = 0;
      const look = async (spool: Spool, unsure: string[]): Promise<void> => {
        const { records, corrupt } = spool.stats();
        expect(corrupt).toBe(0);
        const all = [...dropped, ...promised, ...unsure];
        const found = await take((await open(copyOf(disk))).states);
        expect(found).toHaveLength(records);
        const from = all.indexOf(found[0] ?? '');
        expect(found).toEqual(found.length === 0 ? [] : all.slice(from, from + found.length));
        expect(found).toEqual(expect.arrayContaining(promised));
        promised = found;
        dropped = [];
      };
      for (const { steps, crashAfter, zeros } of lives) {
        let unsure: string[] = [];
        const { states } = await open(disk, { segmentBytes: 100 });
        disk.crashAfter(crashAfter);
        for (const each of steps) {
          if (disk.isDown()) break;
          if ('put' in each) {
            const texts = each.put.map(length => `${(count += 1)}`.padEnd(length, '.'));
            const { taken } = await put(states, ...texts);
            if (taken > 0) promised.push(...texts);
            else unsure = texts;
          } else {
            const taken: string[] = [];
            await take(states, each.take, taken).catch(() => expect(disk.isDown()).toBe(true));
            dropped.push(...promised.splice(0, taken.length));
          }
        }
        disk.restart(zeros);
        const next = await open(disk);
        torn += next.spool.stats().torn;
        await look(next.spool, unsure);
      }
    }),
    { numRuns: 300 },
  );
  // Or it has not looked at what it is about.
  expect(torn).toBeGreaterThan(0);
});
