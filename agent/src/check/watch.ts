import { access } from 'node:fs/promises';
import type { ComponentReport, ComponentStatus } from '@opsfleet/protocol';
import type { Clock } from '../clock.ts';
import type { Watched } from '../config.ts';
import type { Address } from './exchange.ts';

/** What a check has found. */
export type Finding = {
  status: ComponentStatus;
  /** Why it is not `ok`. */
  message?: string;
  /** Whether the answer can only have come from the kind of program that was looked for. */
  recognised: boolean;
};

/** How one kind of program is asked. */
export type Probe = {
  /** Where it usually listens on the machine it runs on. */
  usualPlaces: readonly Address[];
  /** Never rejects: no answer is a finding too. */
  ask(address: Address): Promise<Finding>;
};

/**
 * A function that reports on the watched program; undefined where it is off, or was never found.
 *
 * Once found it stays watched while the agent runs: a database that is stopped has failed, it has not
 * ceased to be configured.
 */
export function watch(
  watched: Watched<Address>,
  probe: Probe,
  clock: Clock,
): () => Promise<ComponentReport | undefined> {
  let place = typeof watched === 'string' ? undefined : watched;

  return async () => {
    if (watched === 'off') return undefined;
    for (const candidate of place === undefined ? probe.usualPlaces : [place]) {
      if (place === undefined && !(await mayListen(candidate))) continue;
      const startMs = clock.monotonicMs();
      const { recognised, ...found } = await probe.ask(candidate);
      if (place === undefined && !recognised) continue;
      place = candidate;
      return { ...found, critical: true, latency_ms: Math.round(clock.monotonicMs() - startMs) };
    }
    return undefined;
  };
}

async function mayListen(address: Address): Promise<boolean> {
  if (!('path' in address)) return true;
  return access(address.path).then(
    () => true,
    () => false,
  );
}
