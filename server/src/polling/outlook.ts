import type { EventFeed } from '../events/feed.ts';
import type { Clock } from '../platform/clock.ts';
import type { Egress } from '../platform/egress/client.ts';
import type { Instruments } from '../platform/instruments.ts';
import type { Log } from '../platform/log.ts';
import type { PollStore } from './poll-store.ts';
import { askHealth, type OpenToken } from './polls.ts';
import { createQuestions } from './questions.ts';
import { createReferences, type ReferenceProbe, withReferences } from './references.ts';
import type { Entry, Roster } from './roster.ts';
import { createSecondLook, type SecondLook } from './second-look.ts';
import { createSelfWatch, type SelfWatch } from './self-watch.ts';
import { createSight, type Sight, sightPolicy } from './sight.ts';
import type { WorkerRow } from './slots.ts';
import { createTestimony } from './testimony.ts';

/** Is it the server, or is it us? Everything that a worker asks and is asked for that. */
export type Outlook = Pick<SelfWatch, 'conditions' | 'onDoubt'> & {
  sight: Sight;
  secondLook: Pick<SecondLook, 'begin'>;
  /** Another worker wants to know what this one sees. */
  onAsked(): void;
  run(signal: AbortSignal): Promise<void>;
};

export type OutlookOptions = {
  store: PollStore;
  clock: Clock;
  log: Log;
  egress: Egress;
  openToken: OpenToken;
  instruments: Instruments;
  feed: Pick<EventFeed, 'announce'>;
  worker: WorkerRow;
  /** What tells whether our own network works; none where nobody has named any. */
  references: readonly ReferenceProbe[];
  healthIntervalMs: number;
  roster: Pick<Roster, 'all'>;
  /** Asks a server for its health, now. */
  ask(entry: Entry): void;
  /** Whether any other worker lives. */
  hasOthers(): boolean;
};

export function createOutlook(options: OutlookOptions): Outlook {
  const { id, name } = options.worker;
  const references = createReferences({ ...options, onBlind: () => selfWatch.onBlind() });
  const sight = withReferences(createSight(sightPolicy(options.healthIntervalMs)), references);
  const questions = createQuestions({ ...options, id });
  const testimony = createTestimony({ ...options, id, sight, check: entry => askHealth(options, entry) });
  const secondLook = createSecondLook({ ...options, questions, references });
  const { outOfReach } = secondLook;
  const selfWatch = createSelfWatch({ ...options, name, sight, references, outOfReach });
  return {
    sight,
    secondLook,
    conditions: selfWatch.conditions,
    onDoubt: selfWatch.onDoubt,
    onAsked: testimony.wake,
    async run(signal) {
      await Promise.all([references, questions, testimony].map(each => each.run(signal)));
    },
  };
}
