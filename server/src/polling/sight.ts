/**
 * Whether we can see at all. Many servers that share nothing do not fail in the same moment; where they seem
 * to, what has failed is our network, our resolver or this process, and nothing is said about any of them.
 */
export type Sight = {
  /** One check of a server: whether anything answered. `site` is what servers have in common that may fail as one. */
  see(check: { id: string; site: string; reached: boolean; atMs: number }): void;
  /** A server is not ours any more: it tells nothing of us, and nothing of it is kept. */
  forget(id: string): void;
  /** Since when we see nothing (monotonic), or null. */
  blindSinceMs(nowMs: number): number | null;
  /** Whether anybody was reached since then. */
  reachedSince(atMs: number): boolean;
};

export type SightPolicy = {
  /** Checks of the last so many milliseconds are looked at, the last one of each server. */
  windowMs: number;
  /** Fewer failing servers than this are a coincidence. */
  minFailing: number;
  /** More than this share fails, in all and at a site for it to count as failing: we are blind. */
  blindShare: number;
  /** No more than this share fails: we see again. */
  sightedShare: number;
  /** After this long, whoever still fails does so by itself, as long as some others answer. */
  maxHoldMs: number;
  /** The share that has to answer for it. */
  answeringShare: number;
};

/** `windowMs` is one interval: in a small fleet, that is how long it takes to have heard of everybody. */
export const sightPolicy = (healthIntervalMs: number): SightPolicy => ({
  windowMs: healthIntervalMs,
  minFailing: 3,
  blindShare: 0.2,
  sightedShare: 0.1,
  maxHoldMs: 3 * healthIntervalMs,
  answeringShare: 0.2,
});

type Check = { site: string; reached: boolean; atMs: number };
type Site = { checks: number; failed: number };

export function createSight(policy: SightPolicy): Sight {
  // In the order of their checks, so that the oldest is the first.
  const last = new Map<string, Check>();
  const sites = new Map<string, Site>();
  let failed = 0;
  let blindSinceMs: number | null = null;
  // Found to fail by themselves while others answer: they tell nothing of us until they answer again.
  const apart = new Set<string>();
  let lastReachedMs = Number.NEGATIVE_INFINITY;
  let lastCheckMs = Number.NEGATIVE_INFINITY;

  function count({ site, reached }: Check, by: 1 | -1): void {
    const counts = sites.get(site) ?? { checks: 0, failed: 0 };
    counts.checks += by;
    if (!reached) {
      counts.failed += by;
      failed += by;
    }
    if (counts.checks === 0) sites.delete(site);
    else sites.set(site, counts);
  }

  function drop(id: string): void {
    const check = last.get(id);
    if (check !== undefined) count(check, -1);
    last.delete(id);
  }

  function dropOld(nowMs: number): void {
    for (const [id, check] of last) {
      if (check.atMs > nowMs - policy.windowMs) return;
      drop(id);
    }
  }

  /** The sites that fail, and not only some of their servers, are at least two and at least half of all. */
  function isWidespread(): boolean {
    let failing = 0;
    for (const site of sites.values()) if (site.failed > policy.blindShare * site.checks) failing += 1;
    return failing >= 2 && failing * 2 >= sites.size;
  }

  function setApart(): void {
    for (const [id, check] of last) {
      if (check.reached) continue;
      apart.add(id);
      drop(id);
    }
  }

  function judge(nowMs: number): void {
    dropOld(nowMs);
    const checks = last.size;
    if (blindSinceMs === null) {
      if (failed >= policy.minFailing && failed > policy.blindShare * checks && isWidespread()) {
        blindSinceMs = nowMs;
      }
    } else if (checks > 0) {
      const answering = checks - failed >= policy.answeringShare * checks;
      if (failed <= policy.sightedShare * checks) blindSinceMs = null;
      else if (answering && nowMs - blindSinceMs > policy.maxHoldMs) {
        blindSinceMs = null;
        setApart();
      }
    } else if (nowMs - lastCheckMs > policy.maxHoldMs) {
      // Nobody is left to ask, and nobody is judged: nothing would ever end it.
      blindSinceMs = null;
    }
  }

  return {
    see({ id, ...check }) {
      if (check.reached) apart.delete(id);
      else if (apart.has(id)) return;
      drop(id);
      last.set(id, check);
      count(check, 1);
      if (check.reached) lastReachedMs = check.atMs;
      lastCheckMs = check.atMs;
      judge(check.atMs);
    },
    forget(id) {
      drop(id);
      apart.delete(id);
    },
    blindSinceMs(nowMs) {
      judge(nowMs);
      return blindSinceMs;
    },
    reachedSince: atMs => lastReachedMs >= atMs,
  };
}

/**
 * What a server has in common with others that may fail as one: its region where it has one, else the domain
 * of its name, or the network of its address (/16, or /48).
 */
export function siteOf({ region, hostname }: { region: string | null; hostname: string }): string {
  if (region !== null) return region;
  if (/^\d+\.\d+\.\d+\.\d+$/.test(hostname)) return hostname.split('.').slice(0, 2).join('.');
  if (hostname.includes(':')) return hostname.replaceAll(/[[\]]/g, '').split(':').slice(0, 3).join(':');
  return hostname.split('.').slice(1).join('.') || hostname;
}
