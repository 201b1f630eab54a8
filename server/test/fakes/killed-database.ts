import type { Database, Queryable, SystemDb, SystemTx, TenantTx } from '../../src/platform/db.ts';

/** What a database throws that has been killed by `killedAfter`. */
export const killed = new Error('killed');

/** For `catch`: whoever was killed says no more, and every other fault is one. */
export function unlessKilled(error: unknown): void {
  if (error !== killed) throw error;
}

/** What comes before each step of a process that is killed after so many. */
export function createSteps(count: number): () => void {
  let left = count;
  return () => {
    left -= 1;
    if (left < 0) throw killed;
  };
}

/** A database that answers so many statements, each a commit or a part of a transaction, and then never again. */
export const killedAfter = (db: SystemDb, count: number): SystemDb => steppedThrough(db, createSteps(count));

/** The same of whoever it acts for. */
export function killedForAllAfter(db: Database, count: number): Database {
  const spend = createSteps(count);
  return {
    ...db,
    system: steppedThrough(db.system, spend),
    tenant: organizationId => steppedThrough<TenantTx>(db.tenant(organizationId), spend),
  };
}

type Transactional<Tx> = Tx & { transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> };

/** A database with a step before each statement and each commit. */
export function steppedThrough<Tx extends Queryable = SystemTx>(
  db: Transactional<Tx>,
  spend: () => void,
): Transactional<Tx> {
  const counted = <Q extends Queryable>(on: Q): Q => ({
    ...on,
    many: query => (spend(), on.many(query)),
    maybeOne: query => (spend(), on.maybeOne(query)),
    one: query => (spend(), on.one(query)),
    execute: query => (spend(), on.execute(query)),
  });
  return {
    ...counted(db),
    transaction: work =>
      db.transaction(async tx => {
        const result = await work(counted(tx));
        spend();
        return result;
      }),
  };
}
