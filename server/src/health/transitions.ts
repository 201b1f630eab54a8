import type { HealthStatus } from '../events/event.ts';
import { type HealthState, isDown } from './evaluate.ts';

/** What a status rests on: nothing, the server's own word, or its failures. */
export type Basis = 'unknown' | 'answering' | 'down';

/** The statuses there are on each basis. `critical` is on two: a server may say so, or answer nothing usable. */
export const statusesOn: Readonly<Record<Basis, readonly HealthStatus[]>> = {
  unknown: ['unknown'],
  answering: ['healthy', 'degraded', 'critical'],
  down: ['unreachable', 'critical'],
};

export const basisOf = (state: HealthState): Basis =>
  state.status === 'unknown' ? 'unknown' : isDown(state) ? 'down' : 'answering';

/** What moves a server's health. `no_result`: nothing has come back at all. */
export type Cause = 'answered' | 'failed' | 'not_checked' | 'no_result';

export type Transition = {
  from: Basis;
  to: Basis;
  causes: readonly Cause[];
  /** What it takes, in the words of the drawing. */
  needs: string;
};

/**
 * Every way in which polling changes a server's status or what it rests on; there is no other. From a basis to
 * itself: to another of its statuses. docs/states.md draws them and has the numbers; tests hold `evaluate`,
 * `stale` and the drawing to this table.
 */
export const transitions: readonly Transition[] = [
  { from: 'unknown', to: 'answering', causes: ['answered'], needs: '1 answer' },
  { from: 'unknown', to: 'down', causes: ['failed'], needs: '3 failures in a row' },
  { from: 'answering', to: 'answering', causes: ['answered'], needs: '1 answer that says otherwise' },
  { from: 'answering', to: 'down', causes: ['failed'], needs: '3 failures in a row' },
  { from: 'down', to: 'answering', causes: ['answered'], needs: '2 answers in a row, 15 s apart' },
  { from: 'down', to: 'down', causes: ['failed'], needs: '1 failure of the other kind' },
  {
    from: 'answering',
    to: 'unknown',
    causes: ['not_checked', 'no_result'],
    needs: 'nothing learned for 3 intervals',
  },
  {
    from: 'down',
    to: 'unknown',
    causes: ['not_checked', 'no_result'],
    needs: 'nothing learned for 3 intervals',
  },
];
