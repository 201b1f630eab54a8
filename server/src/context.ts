import type { Authenticator } from './auth/authenticate.ts';
import type { Settings } from './config.ts';
import type { EventFeed } from './events/feed.ts';
import type { Clock } from './platform/clock.ts';
import type { Database } from './platform/db.ts';
import type { Egress } from './platform/egress/client.ts';
import type { Instruments } from './platform/instruments.ts';
import type { Keyring } from './platform/keyring.ts';
import type { Log } from './platform/log.ts';

/** What handlers and workers are given; built once by app.ts, and by tests with parts of their own. */
export type Context = {
  settings: Settings;
  db: Database;
  clock: Clock;
  log: Log;
  egress: Egress;
  keyring: Keyring;
  instruments: Instruments;
  feed: EventFeed;
  authenticator: Authenticator;
  /** Aborts when the program stops: open answers end. */
  stopping: AbortSignal;
  /** False where this process should poll and does not. */
  isPolling(): boolean;
};
