import { type Conditions, conditionNames, mergeConditions } from '../../src/conditions/condition.ts';
import type { EventFacts, StoredEvent } from '../../src/events/event.ts';
import type { HealthState } from '../../src/health/evaluate.ts';
import type { HealthCheckRow } from '../../src/health/history.ts';
import type { OrganizationId, ServerId, WorkerId } from '../../src/ids.ts';
import { installation } from '../../src/ids.ts';
import type { MetricsRow } from '../../src/metrics/store.ts';
import type { ServerKey } from '../../src/polling/roster.ts';
import { type Lease, leaseMs, type WorkerReport, type WorkerRow } from '../../src/polling/slots.ts';
import { eventOf, type HealthWrite, type MetricsWrite, type PolledServer } from '../../src/polling/store.ts';
import type { WitnessQuestion } from '../../src/polling/witness-store.ts';
import { slotCount } from '../../src/servers/server.ts';
import { keyOf } from './ledger.ts';
import { createMemoryQuestions } from './memory-questions.ts';
import { epochMs } from './process.ts';

/** By epoch. `untilMs`: when it was given back or somebody else's began; null: it has not ended. */
type HeldLease = { owner: WorkerId; slot: number; sinceMs: number; untilMs: number | null };
type Slot = { owner: WorkerId | null; epoch: number; expiresMs: number };
type Worker = WorkerRow & { heartbeatMs: number; conditions: Conditions };
type ServerRow = PolledServer & { epoch: number; seq: number };

/** A state that was written over another one. */
export type AppliedWrite = { write: HealthWrite; before: HealthState; atMs: number };

/** What polling keeps in PostgreSQL, by the same rules: every call is one transaction and happens at once. */
export type MemoryTables = ReturnType<typeof createMemoryTables>;

export function createMemoryTables(nowMs: () => number) {
  const slots: Slot[] = Array.from({ length: slotCount }, () => ({ owner: null, epoch: 0, expiresMs: 0 }));
  const workers = new Map<WorkerId, Worker>();
  const servers = new Map<ServerId, ServerRow>();
  const checks = new Map<string, HealthCheckRow>();
  const metrics = new Set<string>();
  const events: StoredEvent[] = [];
  const leases = new Map<number, HeldLease>();
  const applied: AppliedWrite[] = [];
  const fenced: HealthWrite[] = [];
  const questions = createMemoryQuestions(nowMs);
  let conditions: Conditions = {};
  let lastEpoch = 0;

  const append = (organizationId: OrganizationId, event: EventFacts): void => {
    const position = { xid: BigInt(events.length + 1), id: events.length + 1 };
    events.push({ ...event, organizationId, position, at: new Date(epochMs + nowMs()) });
  };
  const tell = (subject: WorkerId, change: 'joined' | 'left' | 'gave_back'): void =>
    append(installation, { type: 'workers.changed', subject, data: { change } });
  const end = ({ epoch }: Slot): void => {
    const lease = leases.get(epoch);
    if (lease !== undefined) lease.untilMs ??= nowMs();
  };
  const free = (slot: Slot): void => {
    end(slot);
    slot.owner = null;
    slot.expiresMs = 0;
  };
  const leasesOf = (owner: WorkerId): Lease[] =>
    slots.flatMap((slot, index) => (slot.owner === owner ? [{ slot: index, epoch: slot.epoch }] : []));
  const liveWorkers = (): Worker[] =>
    [...workers.values()]
      .filter(worker => worker.heartbeatMs > nowMs() - leaseMs)
      .toSorted((a, b) => a.startedAt.getTime() - b.startedAt.getTime() || (a.id < b.id ? -1 : 1));

  function reconcile(wanted: Conditions): void {
    for (const condition of conditionNames) {
      const [before, after] = [conditions[condition], wanted[condition]];
      if ((before === undefined) === (after === undefined)) continue;
      const since = (after ?? before)!.since.toISOString();
      append(
        installation,
        after === undefined
          ? { type: 'condition.ended', subject: installation, data: { condition, since } }
          : {
              type: 'condition.began',
              subject: installation,
              data: { condition, since, detail: after.detail },
            },
      );
    }
    conditions = wanted;
  }

  return {
    servers,
    checks,
    metrics,
    events,
    slots,
    /** Every lease there ever was, by its epoch. */
    leases,
    applied,
    /** States that came too late: another worker had the slot. */
    fenced,
    conditions: (): Conditions => conditions,
    ...questions,
    askWitnesses(asker: WorkerId, asked: readonly WitnessQuestion[], patienceMs: number): void {
      questions.askWitnesses(asker, asked, patienceMs);
      append(installation, { type: 'witness.asked', subject: asker, data: { questions: asked.length } });
    },
    addServer(server: PolledServer): void {
      servers.set(server.id, { ...server, epoch: 0, seq: 0 });
    },
    registerWorker(worker: WorkerRow): void {
      for (const [id, known] of workers) {
        if (worker.instance === null || known.instance !== worker.instance) continue;
        for (const slot of slots) if (slot.owner === id) free(slot);
        workers.delete(id);
      }
      workers.set(worker.id, { ...worker, heartbeatMs: nowMs(), conditions: {} });
      tell(worker.id, 'joined');
    },
    unregisterWorker(id: WorkerId): void {
      for (const slot of slots) if (slot.owner === id) free(slot);
      workers.delete(id);
      tell(id, 'left');
    },
    heartbeat(id: WorkerId, report: WorkerReport): WorkerId[] {
      const worker = workers.get(id);
      if (worker !== undefined) {
        worker.heartbeatMs = nowMs();
        worker.conditions = report.conditions;
      }
      const live = liveWorkers();
      reconcile(mergeConditions(live.map(each => each.conditions)));
      return live.map(each => each.id);
    },
    renewLeases(owner: WorkerId): Lease[] {
      for (const slot of slots) if (slot.owner === owner) slot.expiresMs = nowMs() + leaseMs;
      return leasesOf(owner);
    },
    claimSlots(owner: WorkerId, count: number): Lease[] {
      const claimed: Lease[] = [];
      for (const [index, slot] of slots.entries()) {
        if (claimed.length >= count) break;
        if (slot.owner !== null && slot.expiresMs >= nowMs()) continue;
        end(slot);
        lastEpoch += 1;
        Object.assign(slot, { owner, epoch: lastEpoch, expiresMs: nowMs() + leaseMs });
        leases.set(lastEpoch, { owner, slot: index, sinceMs: nowMs(), untilMs: null });
        claimed.push({ slot: index, epoch: lastEpoch });
      }
      return claimed;
    },
    releaseSlots(owner: WorkerId, released: readonly number[]): void {
      const held = released.map(index => slots[index]!).filter(slot => slot.owner === owner);
      for (const slot of held) free(slot);
      if (held.length > 0) tell(owner, 'gave_back');
    },
    loadSlots: (wanted: readonly number[]): PolledServer[] =>
      [...servers.values()].filter(server => wanted.includes(server.slot)).map(server => ({ ...server })),
    loadServers: (keys: readonly ServerKey[]): PolledServer[] =>
      keys.flatMap(({ id }) => {
        const server = servers.get(id);
        return server === undefined ? [] : [{ ...server }];
      }),
    insertHealthChecks(rows: readonly HealthCheckRow[], isFirstTry: boolean): number {
      if (isFirstTry && rows.some(row => checks.has(keyOf(row)))) throw new Error('duplicate key');
      const before = checks.size;
      for (const row of rows) {
        const key = keyOf(row);
        if (!checks.has(key)) checks.set(key, row);
      }
      return checks.size - before;
    },
    insertMetrics(rows: readonly MetricsRow[], isFirstTry: boolean): number {
      if (isFirstTry && rows.some(row => metrics.has(keyOf(row)))) throw new Error('duplicate key');
      const before = metrics.size;
      for (const row of rows) metrics.add(keyOf(row));
      return metrics.size - before;
    },
    writeHealth(writes: readonly HealthWrite[]): void {
      for (const write of writes) {
        const { organizationId, id, slot, epoch, seq, state } = write;
        const server = servers.get(id);
        if (server === undefined) continue;
        if (slots[slot]!.epoch > epoch || server.epoch > epoch) {
          fenced.push(write);
          continue;
        }
        if (server.epoch === epoch && server.seq >= seq) continue;
        applied.push({ write, before: server.state, atMs: nowMs() });
        Object.assign(server, { epoch, seq, state });
        for (const change of write.changes) append(organizationId, eventOf(write, change));
      }
    },
    writeMetrics(writes: readonly MetricsWrite[]): void {
      for (const { id, epoch, at } of writes) {
        const server = servers.get(id);
        if (server !== undefined && server.epoch <= epoch) server.metricsAttemptedAt = at;
      }
    },
  };
}
