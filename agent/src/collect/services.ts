import { access } from 'node:fs/promises';
import { output } from '../command.ts';
import type { Watched } from '../config.ts';

/** A systemd unit's state, in systemd's own words. */
export type Unit = { id: string; loadState: string; activeState: string; subState: string };

export type ServiceCounts = {
  active: number;
  failed: number;
  total: number;
  /** Names of the failed ones. */
  failedNames: readonly string[];
};

const properties = '--property=Id,LoadState,ActiveState,SubState';

/**
 * Counts the watched services. Undefined when there is nothing to say: they are off, or nobody named one
 * and the machine does not run systemd. Rejects when systemd does not answer, or when named services
 * cannot be looked at for want of systemd.
 */
export async function readServices(watched: Watched<readonly string[]>): Promise<ServiceCounts | undefined> {
  if (watched === 'off') return undefined;
  const hasSystemd = await isSystemdRunning();
  if (watched === 'auto') {
    if (!hasSystemd) return undefined;
    const units = parseUnits(await output('systemctl', ['show', properties, '*.service']));
    return countLoaded(units);
  }
  if (!hasSystemd) throw new Error('this machine does not run systemd');
  return countNamed(parseUnits(await output('systemctl', ['show', properties, '--', ...watched])));
}

/** Parses `systemctl show`: a block of `Key=value` lines per unit, an empty line between two. */
export function parseUnits(text: string): Unit[] {
  return text.split(/\n\s*\n/).flatMap(block => {
    const values = new Map(
      block.split('\n').map(line => {
        const equals = line.indexOf('=');
        return [line.slice(0, equals), line.slice(equals + 1)] as const;
      }),
    );
    const id = values.get('Id');
    if (id === undefined) return [];
    const of = (key: string): string => values.get(key) ?? '';
    return [{ id, loadState: of('LoadState'), activeState: of('ActiveState'), subState: of('SubState') }];
  });
}

/** Of everything on the machine: what is loaded; services that were never started have not failed. */
export function countLoaded(units: readonly Unit[]): ServiceCounts {
  return count(
    units.filter(unit => unit.loadState === 'loaded'),
    unit => unit.activeState === 'failed' || isCrashLooping(unit),
  );
}

/** Of services that were asked for by name: each of them has to run. */
export function countNamed(units: readonly Unit[]): ServiceCounts {
  return count(units, unit => !isActive(unit));
}

function count(units: readonly Unit[], hasFailed: (unit: Unit) => boolean): ServiceCounts {
  const failedNames = units.filter(hasFailed).map(unit => unit.id);
  return {
    active: units.filter(isActive).length,
    failed: failedNames.length,
    total: units.length,
    failedNames,
  };
}

function isActive(unit: Unit): boolean {
  return (
    ['active', 'reloading', 'activating', 'refreshing'].includes(unit.activeState) && !isCrashLooping(unit)
  );
}

/** Between two starts a crashing service is `activating`, not `failed`. */
function isCrashLooping(unit: Unit): boolean {
  return unit.activeState === 'activating' && unit.subState.startsWith('auto-restart');
}

/** The test of sd_booted(3). */
async function isSystemdRunning(): Promise<boolean> {
  return access('/run/systemd/system').then(
    () => true,
    () => false,
  );
}
