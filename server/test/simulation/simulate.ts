import { accountInTheEnd } from './accounts.ts';
import { broken, wrongInTheEnd } from './invariants.ts';
import { type Fault, unleash } from './nemesis.ts';
import { createWorld, type World } from './world.ts';

/** What a seed came to: every promise that was broken, and what had befallen the fleet. */
export type Outcome = {
  seed: number;
  broken: string[];
  faults: readonly Fault[];
  polls: number;
  /** Of history: stored; lost with a process before they had to be on disk, or because it took nothing; and batches that it took. */
  rows: { stored: number; unsynced: number; refused: number; batchesOnDisk: number };
  events: number;
};

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
  const { timeline, database } = world;
  const untilMs = minutes * minuteMs;
  const faults = unleash(world, { untilMs, storm });
  await timeline.runUntil(untilMs + healingMs);
  endTroubles(world);
  await timeline.runUntil(untilMs + 2 * healingMs);
  const wrong = wrongInTheEnd(world);
  const accounts = await accountInTheEnd(world);
  const polls = world.network.servers.reduce((sum, { asked }) => sum + asked.length, 0);
  const { stored, lost } = accounts;
  return {
    seed,
    broken: [...broken(world, accounts, { storm, faults, judgedMs: untilMs + 2 * healingMs }), ...wrong].map(
      promise => `seed ${seed}: ${promise}`,
    ),
    faults,
    polls,
    rows: { stored, ...lost, batchesOnDisk: world.ledger.batches() },
    events: database.tables.events.length,
  };
}

function endTroubles({ database, machines, running }: World): void {
  Object.assign(database.trouble, { isDown: false, slowMs: 0, refusedPercent: 0, lostReplyPercent: 0 });
  for (const { trouble } of machines) Object.assign(trouble, { isFull: false, isAway: false });
  for (const { process } of running()) {
    process.resume();
    Object.assign(process.reaches, { database: true, servers: true });
  }
}
