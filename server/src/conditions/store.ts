import { appendForAll } from '../events/outbox.ts';
import { installation } from '../ids.ts';
import { type SystemDb, type SystemTx, sql } from '../platform/db.ts';
import type { ConditionName, Conditions } from './condition.ts';

type Row = { name: ConditionName; since: Date; detail: string };

/** The conditions that hold now, as they have been told. */
export async function currentConditions(db: SystemTx): Promise<Conditions> {
  const rows = await db.many<Row>(sql`select name, since, detail from conditions`);
  return Object.fromEntries(rows.map(({ name, since, detail }) => [name, { since, detail }]));
}

/**
 * Makes `wanted` the conditions that hold of those named `among`, and tells of each that begins or ends by one
 * event, whoever else does the same at the same time. Returns whether anything changed; where nothing does, it
 * costs one read.
 */
export async function reconcileConditions(
  db: SystemDb,
  wanted: Conditions,
  { among, at }: { among: readonly ConditionName[]; at: Date },
): Promise<boolean> {
  const changesOf = (current: Conditions): ConditionName[] =>
    among.filter(name => (current[name] === undefined) !== (wanted[name] === undefined));
  if (changesOf(await currentConditions(db)).length === 0) return false;
  return db.transaction(async tx => {
    await tx.execute(sql`lock table conditions in share row exclusive mode`);
    const current = await currentConditions(tx);
    const changes = changesOf(current);
    for (const name of changes) {
      const condition = wanted[name];
      await tx.execute(
        condition === undefined
          ? sql`delete from conditions where name = ${name}`
          : sql`insert into conditions (name, since, detail) values (${name}, ${condition.since}, ${condition.detail})`,
      );
    }
    await appendForAll(
      tx,
      at,
      changes.map(name => {
        const condition = wanted[name];
        return {
          organizationId: installation,
          event:
            condition === undefined
              ? ({
                  type: 'condition.ended',
                  subject: installation,
                  data: { condition: name, since: current[name]!.since.toISOString() },
                } as const)
              : ({
                  type: 'condition.began',
                  subject: installation,
                  data: { condition: name, since: condition.since.toISOString(), detail: condition.detail },
                } as const),
        };
      }),
    );
    return changes.length > 0;
  });
}
