/**
 * Whether we can see at all. Many servers that share nothing do not fail in the same moment; where they seem
 * to, what has failed is our network, our resolver or this process, and nothing is said about any of them.
 */
export type Sight = {
  /**
   * One check of a server: whether anything answered. `site` is what servers have in common that may fail as one,
   * `wasSeeing` what `reachedLately` said when it was asked.
   */
  see(check: { id: string; site: string; reached: boolean; wasSeeing: boolean; atMs: number }): void;
  /** A server is not ours any more: it tells nothing of us, and nothing of it is kept. */
  forget(id: string): void;
  /** Since when we see nothing (monotonic), or null. */
  blindSinceMs(nowMs: number): number | null;
  /** Whether anybody was reached since then. */
  reachedSince(atMs: number): boolean;
  /** Whether anybody was reached within the interval before. */
  reachedLately(nowMs: number): boolean;
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

type Site = { name: string; checks: number; failed: number };
/** `isLast`: no later one of its server has come, and it is not too old. */
type Check = { id: string; site: Site; reached: boolean; wasSeeing: boolean; atMs: number; isLast: boolean };

export function createSight(policy: SightPolicy): Sight {
  const last = new Map<string, Check>();
  /** In the order of their checks; those before `oldest` are done with. */
  let checks: Check[] = [];
  let oldest = 0;
  const sites = new Map<string, Site>();
  let failed = 0;
  let blindSinceMs: number | null = null;
  // Found to fail by themselves while others answer: they tell nothing of us until they answer again.
  const apart = new Set<string>();
  /** Of what had been answered when they were told apart last. */
  let setApartUntilMs = Number.NEGATIVE_INFINITY;
  let lastReachedMs = Number.NEGATIVE_INFINITY;
  let lastCheckMs = Number.NEGATIVE_INFINITY;

  function siteNamed(name: string): Site {
    const known = sites.get(name);
    if (known !== undefined) return known;
    const site = { name, checks: 0, failed: 0 };
    sites.set(name, site);
    return site;
  }

  function count({ site, reached }: Check, by: 1 | -1): void {
    site.checks += by;
    if (!reached) {
      site.failed += by;
      failed += by;
    }
    if (site.checks === 0) sites.delete(site.name);
  }

  function supersede(check: Check | undefined): void {
    if (check === undefined) return;
    check.isLast = false;
    count(check, -1);
  }

  function drop(id: string): void {
    supersede(last.get(id));
    last.delete(id);
  }

  function dropOld(nowMs: number): void {
    while (oldest < checks.length) {
      const check = checks[oldest]!;
      if (check.isLast) {
        if (check.atMs > nowMs - policy.windowMs) break;
        drop(check.id);
      }
      oldest += 1;
    }
    if (oldest > 1_024 && oldest * 2 > checks.length) {
      checks = checks.slice(oldest);
      oldest = 0;
    }
  }

  /** The sites that fail, and not only some of their servers, are at least two and at least half of all. */
  function isWidespread(): boolean {
    let failing = 0;
    for (const site of sites.values()) if (site.failed > policy.blindShare * site.checks) failing += 1;
    return failing >= 2 && failing * 2 >= sites.size;
  }

  /** More of them fail, and in more places, than do by themselves. */
  const isTooMuch = (): boolean =>
    failed >= policy.minFailing && failed > policy.blindShare * last.size && isWidespread();

  /**
   * Those that failed while we saw: somebody had answered before they were asked, and somebody has since. Who answers for
   * a moment between two times of blindness tells nothing of who failed in the first one.
   */
  function setApart(): void {
    if (lastReachedMs === setApartUntilMs) return;
    setApartUntilMs = lastReachedMs;
    for (const [id, check] of last) {
      if (check.reached || !check.wasSeeing || check.atMs > lastReachedMs) continue;
      apart.add(id);
      drop(id);
    }
  }

  function judge(nowMs: number): void {
    dropOld(nowMs);
    const heardOf = last.size;
    if (blindSinceMs === null) {
      if (isTooMuch()) blindSinceMs = nowMs;
    } else if (heardOf > 0) {
      const answering = heardOf - failed >= policy.answeringShare * heardOf;
      if (failed <= policy.sightedShare * heardOf) blindSinceMs = null;
      else if (answering && nowMs - blindSinceMs > policy.maxHoldMs) {
        setApart();
        if (!isTooMuch()) blindSinceMs = null;
      }
    } else if (nowMs - lastCheckMs > policy.maxHoldMs) {
      // Nobody is left to ask, and nobody is judged: nothing would ever end it.
      blindSinceMs = null;
    }
  }

  return {
    see({ id, site, reached, wasSeeing, atMs }) {
      if (reached) apart.delete(id);
      else if (apart.has(id)) return;
      supersede(last.get(id));
      const check = { id, site: siteNamed(site), reached, wasSeeing, atMs, isLast: true };
      last.set(id, check);
      checks.push(check);
      count(check, 1);
      if (reached) lastReachedMs = atMs;
      lastCheckMs = atMs;
      judge(atMs);
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
    reachedLately: nowMs => lastReachedMs >= nowMs - policy.windowMs,
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
