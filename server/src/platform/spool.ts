import { crc32 } from 'node:zlib';
import type { Log } from './log.ts';

/**
 * The disk below a spool: the files of one directory. A port, so that a simulation can put a disk in its place
 * that loses what was not synced and tears writes. A call that fails rejects with the system's error.
 */
export type SpoolFiles = {
  list(): Promise<readonly string[]>;
  read(name: string): Promise<Uint8Array>;
  /** Adds to the end of a file, making it where it is missing. Bytes and name are on disk when it resolves. */
  append(name: string, bytes: Uint8Array): Promise<void>;
  /** Cuts a file to its first `bytes`. */
  truncate(name: string, bytes: number): Promise<void>;
  remove(name: string): Promise<void>;
};

/** How many of the records, from the first on, are on disk now, and why it was not all: `full`, or the disk's error. */
export type Appended = { taken: number; failure: string | null };

/** A queue of records. Its calls may overlap; they run in the order in which they were made. */
export type SpoolQueue = {
  /** One sync for all. What was not taken the caller keeps; a failure is a value. */
  append(records: readonly Uint8Array[]): Promise<Appended>;
  /** The oldest record, or null. It stays until `drop`. Rejects while it cannot be read, for some tries. */
  peek(): Promise<Uint8Array | null>;
  /** Forgets the oldest record. After a crash, what was dropped since its segment began is delivered again. */
  drop(): Promise<void>;
  records(): number;
};

export type SpoolStats = {
  bytes: number;
  records: number;
  /** When the oldest segment was begun: no record is older. Null when there is none. */
  oldestAt: Date | null;
  /** Segments whose end a crash had torn; nothing in it was ever acknowledged. */
  torn: number;
  /** Records and segments that could not be read back. Each cost the rest of its segment. */
  corrupt: number;
};

export type Spool = {
  queue(name: string): SpoolQueue;
  stats(): SpoolStats;
};

export type SpoolOptions = {
  files: SpoolFiles;
  /** The names of its queues, of letters and `_`. */
  queues: readonly string[];
  /** Of all queues together. Beyond it the newest record is refused: what waits was promised first. */
  limitBytes: number;
  /** A segment takes no more records once it is this large. Smaller: less is delivered again after a crash. */
  segmentBytes?: number;
  now(): Date;
  log: Log;
};

const defaultSegmentBytes = 4 * 1024 * 1024;

/** The process's trouble and not the disk's: it passes, so nothing is given up for it. */
const passing = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EINTR']);
/** Tries, about a second apart: a disk that is away may come back, and what is passed over is not told in order. */
const maxFailedReads = 60;

/** A file of records. `bytes` are those that count; behind them may be what a failed write left. */
type Segment = {
  name: string;
  atMs: number;
  bytes: number;
  records: number;
  failedReads?: number;
  isUnreadable?: boolean;
};

type Shared = SpoolOptions & { usage: { bytes: number; torn: number; corrupt: number }; say: Complaints };

/**
 * Opens the spool and looks through everything that is in it: a torn end is cut off, and behind a record that
 * is corrupt its segment is given up; both are counted and logged. Rejects where the directory cannot be listed.
 */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const usage = { bytes: 0, torn: 0, corrupt: 0 };
  const shared: Shared = { ...options, usage, say: complaints(options.log) };
  const listed = (await options.files.list())
    .flatMap(name => parseSegmentName(name) ?? [])
    .toSorted((a, b) => a.number - b.number);
  const queues = new Map<string, SpoolQueue>();
  const found: Segment[][] = [];
  for (const name of options.queues) {
    const segments: Segment[] = [];
    const ours = listed.filter(each => each.queue === name);
    for (const each of ours) {
      const segment = await inspect(shared, each);
      if (segment !== null) segments.push(segment);
    }
    found.push(segments);
    queues.set(name, createQueue(shared, name, segments, (ours.at(-1)?.number ?? 0) + 1));
  }
  return {
    queue(name) {
      const queue = queues.get(name);
      if (queue === undefined) throw new Error(`the spool has no queue ${name}`);
      return queue;
    },
    stats() {
      const oldestMs = Math.min(...found.map(segments => segments[0]?.atMs ?? Number.POSITIVE_INFINITY));
      return {
        ...usage,
        records: [...queues.values()].reduce((sum, queue) => sum + queue.records(), 0),
        oldestAt: Number.isFinite(oldestMs) ? new Date(oldestMs) : null,
      };
    },
  };
}

function createQueue(shared: Shared, name: string, segments: Segment[], firstNumber: number): SpoolQueue {
  const { files, usage, say, limitBytes, segmentBytes = defaultSegmentBytes } = shared;
  let nextNumber = firstNumber;
  /** The last segment while it still takes records. What a crash left is never added to. */
  let active: Segment | null = null;
  let reading: { records: readonly Uint8Array[]; next: number } | null = null;
  let waiting = segments.reduce((sum, { records }) => sum + records, 0);
  let last: Promise<unknown> = Promise.resolve();

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = last.then(work);
    last = turn.catch(() => undefined);
    return turn;
  }

  function segmentToFill(): Segment {
    if (active !== null && active.bytes < segmentBytes) return active;
    const atMs = shared.now().getTime();
    return { name: segmentName(name, nextNumber++, atMs), atMs, bytes: 0, records: 0 };
  }

  async function append(records: readonly Uint8Array[]): Promise<Appended> {
    const frames = records.map(frame);
    let [taken, bytes] = [0, 0];
    while (taken < frames.length && usage.bytes + bytes + frames[taken]!.length <= limitBytes) {
      bytes += frames[taken]!.length;
      taken += 1;
    }
    const isFull = taken < frames.length;
    say.whether('full', isFull ? { limitBytes } : null);
    if (taken === 0) return { taken, failure: isFull ? 'full' : null };
    const segment = segmentToFill();
    try {
      await files.append(segment.name, Buffer.concat(frames.slice(0, taken)));
    } catch (error) {
      say.whether('failing', { err: error, file: segment.name });
      await undo(segment);
      return { taken: 0, failure: codeOf(error) };
    }
    say.whether('failing', null);
    if (segment.bytes === 0) segments.push(segment);
    active = segment;
    segment.bytes += bytes;
    segment.records += taken;
    usage.bytes += bytes;
    waiting += taken;
    return { taken, failure: isFull ? 'full' : null };
  }

  /** Whether the failed bytes are there nobody knows, nor whether a later sync would be true: on to a new file. */
  async function undo(segment: Segment): Promise<void> {
    active = null;
    const undone =
      segment.bytes === 0 ? files.remove(segment.name) : files.truncate(segment.name, segment.bytes);
    await undone.catch(() => undefined);
  }

  async function load(segment: Segment): Promise<readonly Uint8Array[]> {
    if (segment === active) active = null;
    let records: readonly Uint8Array[] = [];
    try {
      records = scan((await files.read(segment.name)).subarray(0, segment.bytes)).records;
    } catch (error) {
      if (passing.has(codeOf(error))) throw error;
      segment.failedReads = (segment.failedReads ?? 0) + 1;
      if (segment.failedReads < maxFailedReads) throw error;
      segment.isUnreadable = true;
      say.loudly({ err: error, file: segment.name }, 'a spool segment cannot be read; it is passed over');
    }
    if (records.length < segment.records) {
      usage.corrupt += 1;
      waiting -= segment.records - records.length;
      say.loudly(
        { file: segment.name, lost: segment.records - records.length },
        'spooled records cannot be read back; they are lost',
      );
    }
    return records;
  }

  async function finish(segment: Segment): Promise<void> {
    segments.shift();
    reading = null;
    usage.bytes -= segment.bytes;
    // What the disk does not give back today, somebody may get from it tomorrow.
    if (segment.isUnreadable) return;
    await files.remove(segment.name).catch(error => {
      say.loudly({ err: error, file: segment.name }, 'a spool segment that is done cannot be removed');
    });
  }

  async function peek(): Promise<Uint8Array | null> {
    for (;;) {
      const segment = segments[0];
      if (segment === undefined) return null;
      reading ??= { records: await load(segment), next: 0 };
      const record = reading.records[reading.next];
      if (record !== undefined) return record;
      await finish(segment);
    }
  }

  async function drop(): Promise<void> {
    const segment = segments[0];
    if (segment === undefined) return;
    reading ??= { records: await load(segment), next: 0 };
    // Where the oldest is among those that cannot be read back, it is gone already.
    if (reading.next < reading.records.length) {
      waiting -= 1;
      reading.next += 1;
    }
    if (reading.next >= reading.records.length) await finish(segment);
  }

  return {
    append: records => inTurn(() => append(records)),
    peek: () => inTurn(peek),
    drop: () => inTurn(drop),
    records: () => waiting,
  };
}

/** Looks through a segment that an earlier process left. Null: there is nothing in it to deliver. */
async function inspect({ files, usage, say }: Shared, { name, atMs }: SegmentName): Promise<Segment | null> {
  let bytes: Uint8Array;
  try {
    bytes = await files.read(name);
  } catch (error) {
    usage.corrupt += 1;
    say.loudly({ err: error, file: name }, 'a spool segment cannot be read; it is passed over');
    return null;
  }
  const { records, goodBytes, damage } = scan(bytes);
  if (damage !== null) {
    const lostBytes = bytes.length - goodBytes;
    if (damage === 'torn') {
      usage.torn += 1;
      say.loudly(
        { file: name, lostBytes },
        'a spool segment ends in the middle of a write; it is cut off there',
      );
      if (goodBytes > 0) await files.truncate(name, goodBytes).catch(() => undefined);
    } else {
      usage.corrupt += 1;
      say.loudly({ file: name, lostBytes }, 'a spool segment is corrupt; the rest of it is lost');
    }
  }
  if (records.length === 0) {
    await files.remove(name).catch(() => undefined);
    return null;
  }
  usage.bytes += goodBytes;
  return { name, atMs, bytes: goodBytes, records: records.length };
}

type SegmentName = { name: string; queue: string; number: number; atMs: number };

const segmentPattern = /^([a-z_]+)-(\d{12})-(\d{1,15})\.spool$/;

/** `<queue>-<number>-<when it was begun, Unix ms>.spool`. Numbers order the segments of a queue. */
export const segmentName = (queue: string, number: number, atMs: number): string =>
  `${queue}-${String(number).padStart(12, '0')}-${atMs}.spool`;

/** What the name says, or null where it is no segment's. */
export function parseSegmentName(name: string): SegmentName | null {
  const [, queue, number, atMs] = segmentPattern.exec(name) ?? [];
  return queue === undefined ? null : { name, queue, number: Number(number), atMs: Number(atMs) };
}

const headerBytes = 8;

/** A record on disk: its length and its CRC-32, both 32 bits big endian, then itself. */
function frame(record: Uint8Array): Uint8Array {
  if (record.length === 0) throw new RangeError('a spool record must not be empty');
  const framed = Buffer.allocUnsafe(headerBytes + record.length);
  framed.writeUInt32BE(record.length, 0);
  framed.writeUInt32BE(crc32(record), 4);
  framed.set(record, headerBytes);
  return framed;
}

type Scan = { records: Uint8Array[]; goodBytes: number; damage: 'torn' | 'corrupt' | null };

/**
 * Reads records up to the first that is damaged. `torn`: nothing lies behind it, as where a write did not come
 * to its end; some file systems have the file's new length by then, with zeros for the rest.
 */
function scan(bytes: Uint8Array): Scan {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: Uint8Array[] = [];
  let at = 0;
  while (at < view.length) {
    const length = at + headerBytes <= view.length ? view.readUInt32BE(at) : Number.POSITIVE_INFINITY;
    const end = at + headerBytes + length;
    const record = view.subarray(at + headerBytes, end);
    if (length === 0 || end > view.length || crc32(record) !== view.readUInt32BE(at + 4)) {
      const isTorn = view.subarray(end).every(byte => byte === 0);
      return { records, goodBytes: at, damage: isTorn ? 'torn' : 'corrupt' };
    }
    records.push(record);
    at = end;
  }
  return { records, goodBytes: at, damage: null };
}

type Complaints = {
  /** Logs when the trouble begins and when it is over, and nothing in between. */
  whether(trouble: 'full' | 'failing', details: object | null): void;
  loudly(details: object, message: string): void;
};

function complaints(log: Log): Complaints {
  const now = new Set<string>();
  const messages = {
    full: ['the spool is full; newer records are refused', 'the spool has room again'],
    failing: ['the disk does not take records into the spool', 'the disk takes records into the spool again'],
  } as const;
  return {
    whether(trouble, details) {
      if (details !== null && !now.has(trouble)) log.error(details, messages[trouble][0]);
      if (details === null && now.delete(trouble)) log.warn(messages[trouble][1]);
      if (details !== null) now.add(trouble);
    },
    loudly: (details, message) => log.error(details, message),
  };
}

/** `ENOSPC` and the like. */
const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error);
