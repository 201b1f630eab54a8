import { lookup as lookupInThreadPool } from 'node:dns/promises';
import type { Clock } from '../clock.ts';
import { createGate } from './gate.ts';

/** Every address of a name. Rejects with a `code`, as node:dns does. */
export type Lookup = (hostname: string) => Promise<readonly string[]>;

/** getaddrinfo: it honours /etc/hosts and the machine's resolver, and tells no time to live. */
export const systemLookup: Lookup = async hostname => {
  const answers = await lookupInThreadPool(hostname, { all: true, order: 'verbatim' });
  return answers.map(answer => answer.address);
};

type Known = { addresses: readonly string[]; resolvedAtMs: number };
type Entry = {
  known: Known | null;
  failure: { error: unknown; atMs: number } | null;
  pending: Promise<readonly string[]> | null;
};

export type Resolver = {
  /** All addresses of the name; rejects with the lookup's error. */
  resolve(hostname: string): Promise<readonly string[]>;
  readonly entries: number;
  readonly waiting: number;
};

const freshMs = 45_000;
const failureMs = 5_000;
// An answer this old still serves when the resolver does not: a dead resolver is not a dead fleet.
const staleMs = 600_000;
const maxEntries = 20_000;
// libuv gives getaddrinfo half of its four threads. More in flight would only wait there, in no order of ours.
const maxLookups = 2;

/**
 * Names to addresses, each name asked once at a time. An answer is fresh for 45 s; up to 10 minutes longer it
 * is used while a new one is fetched behind it, so that a slow resolver delays no poll. Failures are kept 5 s.
 */
export function createResolver(lookup: Lookup, clock: Clock): Resolver {
  // In the order of the last refresh, so the first entry is the one to give up.
  const entries = new Map<string, Entry>();
  const gate = createGate(maxLookups);

  const refresh = async (hostname: string, entry: Entry): Promise<readonly string[]> => {
    // Names that never answer, of which anybody can register many, wait behind those that do. Without this
    // they would hold every refresh until the whole fleet's last answers are too old.
    const leave = await gate.enter({ first: entry.known !== null && entry.failure === null });
    try {
      const addresses = await lookup(hostname);
      if (addresses.length === 0) throw Object.assign(new Error('no address'), { code: 'ENODATA' });
      entry.known = { addresses, resolvedAtMs: clock.monotonicMs() };
      entry.failure = null;
      return addresses;
    } catch (error) {
      entry.failure = { error, atMs: clock.monotonicMs() };
      throw error;
    } finally {
      leave();
      entry.pending = null;
    }
  };

  const entryOf = (hostname: string): Entry => {
    const entry = entries.get(hostname) ?? { known: null, failure: null, pending: null };
    entries.delete(hostname);
    const [oldest] = entries.keys();
    if (entries.size >= maxEntries && oldest !== undefined) entries.delete(oldest);
    entries.set(hostname, entry);
    return entry;
  };

  return {
    async resolve(hostname) {
      const nowMs = clock.monotonicMs();
      const found = entries.get(hostname);
      const ageMs = found?.known ? nowMs - found.known.resolvedAtMs : Infinity;
      if (found?.known && ageMs < freshMs) return found.known.addresses;

      const failed = found?.failure && nowMs - found.failure.atMs < failureMs ? found.failure : null;
      if (failed === null) {
        const entry = entryOf(hostname);
        entry.pending ??= refresh(hostname, entry);
        if (ageMs >= staleMs) return entry.pending;
        entry.pending.catch(() => undefined);
      }
      if (found?.known && ageMs < staleMs) return found.known.addresses;
      throw failed?.error;
    },
    get entries() {
      return entries.size;
    },
    get waiting() {
      return gate.waiting;
    },
  };
}
