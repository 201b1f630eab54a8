import { seededRandom } from './simulator/behaviour.ts';

/**
 * What happens to one worker: `kill`ed and started again at once; killed and started as `another` installation,
 * which cannot take over at once what the dead one held; or `pause`d, and going on as if nothing had been.
 */
export type Fault = { atSeconds: number; worker: number } & (
  | { kind: 'kill' | 'another' }
  | { kind: 'pause'; seconds: number }
);

export type FaultPlan = {
  seed: string;
  /** How long faults go on, and how far apart they are. */
  seconds: number;
  everySeconds: number;
  workers: number;
  pauseSeconds: { min: number; max: number };
};

const KILLS = 0.6;
const PAUSES = 0.2;

/** The same plan always gives the same faults. The last one leaves time to recover from it. */
export function planFaults({ seed, seconds, everySeconds, workers, pauseSeconds }: FaultPlan): Fault[] {
  const random = seededRandom(seed);
  const faults: Fault[] = [];
  for (let atSeconds = everySeconds; atSeconds + everySeconds <= seconds; atSeconds += everySeconds) {
    const worker = Math.floor(random() * workers);
    const kind = random();
    const length = pauseSeconds.min + random() * (pauseSeconds.max - pauseSeconds.min);
    if (kind < KILLS) faults.push({ atSeconds, worker, kind: 'kill' });
    else if (kind < 1 - PAUSES) faults.push({ atSeconds, worker, kind: 'another' });
    else faults.push({ atSeconds, worker, kind: 'pause', seconds: length });
  }
  return faults;
}
