import { createHmac } from 'node:crypto';

/**
 * What a simulated server does to whoever checks it.
 *
 * - `healthy`: answers 200 with everything well.
 * - `slow`: as healthy, after a delay drawn for each request.
 * - `flapping`: healthy for half a period, 500 for the other half.
 * - `degraded`: answers 200 with `services.healthy` false.
 * - `error`: answers 500. `unauthorized`: answers 401 to the right token.
 * - `hang`: accepts the connection and the request, and never answers.
 * - `reset`: resets the connection when a request arrives.
 * - `refuse`: nothing listens at its address, so a connect is refused.
 * - `blackhole`: a connect never completes, because the kernel drops its SYN.
 */
export const BEHAVIOURS = [
  'healthy',
  'slow',
  'flapping',
  'degraded',
  'error',
  'unauthorized',
  'hang',
  'reset',
  'refuse',
  'blackhole',
] as const;

export type Behaviour = (typeof BEHAVIOURS)[number];

/** Which servers behave so: a fraction of the fleet, chosen by the seed, or an inclusive index range. */
export type Share = { fraction: number } | { first: number; last: number };

export type Shares = Partial<Record<Exclude<Behaviour, 'healthy'>, Share>>;

/** Whether a connect to such a server succeeds, so that its checks can be seen by the simulator at all. */
export function isReachable(behaviour: Behaviour): boolean {
  return behaviour !== 'refuse' && behaviour !== 'blackhole';
}

type Assignment = { ok: true; behaviours: Behaviour[] } | { ok: false; behaviour: Behaviour; reason: string };

/**
 * One behaviour per server index; the same seed and shares always give the same. Ranges are taken first,
 * fractions (of the whole fleet, rounded to whole servers) are drawn from the rest, and whoever is left is
 * healthy. Not ok when a range ends beyond the fleet or meets another, or the fractions do not fit.
 */
export function assignBehaviours(servers: number, seed: string, shares: Shares): Assignment {
  const assigned = Array.from<Behaviour | undefined>({ length: servers });
  for (const behaviour of BEHAVIOURS) {
    const share = behaviour === 'healthy' ? undefined : shares[behaviour];
    if (share === undefined || !('first' in share)) continue;
    if (share.last >= servers) {
      return { ok: false, behaviour, reason: `the last server is ${servers - 1}` };
    }
    for (let index = share.first; index <= share.last; index++) {
      if (assigned[index] !== undefined) {
        return { ok: false, behaviour, reason: `server ${index} is already ${assigned[index]}` };
      }
      assigned[index] = behaviour;
    }
  }

  const free = shuffledIndexes(servers, seed).filter(index => assigned[index] === undefined);
  for (const behaviour of BEHAVIOURS) {
    const share = behaviour === 'healthy' ? undefined : shares[behaviour];
    if (share === undefined || !('fraction' in share)) continue;
    const count = Math.round(share.fraction * servers);
    if (count > free.length) {
      return { ok: false, behaviour, reason: `only ${free.length} of ${servers} servers are left for it` };
    }
    for (const index of free.splice(0, count)) assigned[index] = behaviour;
  }
  return { ok: true, behaviours: assigned.map(behaviour => behaviour ?? 'healthy') };
}

function shuffledIndexes(servers: number, seed: string): number[] {
  const random = seededRandom(seed);
  const indexes = Array.from({ length: servers }, (_, index) => index);
  for (let last = servers - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const swapped = indexes[last]!;
    indexes[last] = indexes[other]!;
    indexes[other] = swapped;
  }
  return indexes;
}

/** Uniform numbers in [0, 1) that repeat for the same seed (mulberry32, by Tommy Ettinger). */
export function seededRandom(seed: string): () => number {
  let state = createHmac('sha256', seed).update('random').digest().readUInt32LE(0);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
