import { broken, wrongInTheEnd } from './invariants.ts';
import { type Fault, unleash } from './nemesis.ts';
import { createWorld } from './world.ts';

/** What a seed came to: every promise that was broken, and what had befallen the fleet. */
export type Outcome = { seed: number; broken: string[]; faults: readonly Fault[]; polls: number };

const minuteMs = 60_000;
/** Long enough for the last take-over, a backlog, and three more rounds of checks. */
const healingMs = 6 * minuteMs;

/**
 * Hours of a fleet's life in a second: workers, a database and a network that fail as the seed has it, then
 * time to heal, then the promises. The same seed does the same again to the letter. Odd seeds bring one fault
 * at a time, with the bound on lateness judged; even ones bring storms.
 */
export async function simulate(seed: number, minutes = 40): Promise<Outcome> {
  const storm = seed % 2 === 0;
  const world = createWorld({ seed, servers: 40, workers: 3 });
  const untilMs = minutes * minuteMs;
  const faults = unleash(world, { untilMs, storm });
  await world.timeline.runUntil(untilMs + healingMs);
  Object.assign(world.database.trouble, { isDown: false, slowMs: 0, refusedPercent: 0, lostReplyPercent: 0 });
  for (const { process } of world.running()) {
    process.resume();
    Object.assign(process.reaches, { database: true, servers: true });
  }
  await world.timeline.runUntil(untilMs + 2 * healingMs);
  const wrong = wrongInTheEnd(world);
  for (const worker of world.running()) world.stopWorker(worker);
  await world.timeline.runUntil(untilMs + 2 * healingMs + minuteMs);
  const polls = world.network.servers.reduce((sum, { asked }) => sum + asked.length, 0);
  return { seed, broken: [...broken(world, faults, { storm }), ...wrong], faults, polls };
}
